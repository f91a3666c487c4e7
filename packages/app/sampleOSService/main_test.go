package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	server := httptest.NewServer(handler(func() string { return "one two" }))
	defer server.Close()
	for path, want := range map[string]string{
		"/hello":         "hello\n",
		"/headers":       "X-Question: why",
		"/fortune":       "one two\n",
		"/fortuneteller": " .---------.\n | one two |\n '---------'\n",
	} {
		request := httptest.NewRequest("GET", server.URL+path, nil)
		request.Header.Set("X-Question", "why")
		recorder := httptest.NewRecorder()
		server.Config.Handler.ServeHTTP(recorder, request)
		body, _ := io.ReadAll(recorder.Result().Body)
		if recorder.Code != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %q, want %q", path, recorder.Code, body, want)
		}
	}
}

func TestEveryFortuneFitsIntoItsBubble(t *testing.T) {
	all := fortunes(book)
	if len(all) < 10 {
		t.Fatalf("only %d fortunes were found", len(all))
	}
	for _, text := range all {
		lines := strings.Split(say(text), "\n")
		for _, line := range lines[1 : len(lines)-8] {
			if len(line) != len(lines[0]) {
				t.Errorf("%q sticks out of %q", line, lines[0])
			}
		}
	}
}
