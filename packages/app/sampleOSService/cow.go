package main

import (
	"strings"
	"unicode/utf8"
)

const bubbleWidth = 40

const cow = `    \
     \   (\__/)
      \  ( oo )_______
         (____)       )\
            ||-----w |  *
            ||      ||
`

// say puts the text in a bubble over the cow's head.
func say(text string) string {
	lines := wrap(text, bubbleWidth)
	widest := 0
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > widest {
			widest = n
		}
	}
	var out strings.Builder
	out.WriteString(" ." + strings.Repeat("-", widest+2) + ".\n")
	for _, line := range lines {
		pad := strings.Repeat(" ", widest-utf8.RuneCountInString(line))
		out.WriteString(" | " + line + pad + " |\n")
	}
	out.WriteString(" '" + strings.Repeat("-", widest+2) + "'\n")
	out.WriteString(cow)
	return out.String()
}

// wrap breaks a text at spaces; a word longer than the width gets a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
