// Package filehead reads the beginning of a small file for a program that does so
// at each of its starts.
package filehead
