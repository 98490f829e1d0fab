package liveness_test

func addRoles(roles map[string]func([]string)) {
	roles["console"] = consoleRole
	roles["console-host"] = consoleHostRole
	roles["own-tree"] = ownTreeRole
}
