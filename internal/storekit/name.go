package storekit

// IsName reports whether a text can start the name of a table without quotes: it
// consists of ASCII letters, digits and underscores, and does not start with a digit.
func IsName(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return text != ""
}
