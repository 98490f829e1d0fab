package liveness_test

func addRoles(roles map[string]func([]string)) { roles["own-tree"] = ownTreeRole }
