// Reads YAML as luet does: yaml.v2, then JSON, then Go's types.
// Reads a JSON list of {kind, text} on stdin, writes a JSON list of {err, value}: the JSON of a "file", or of the
// package that a "definition" is.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"gopkg.in/yaml.v2"
)

type question struct{ Kind, Text string }
type answer struct {
	Err   string      `json:"err"`
	Value interface{} `json:"value"`
}

// The fields of luet.md §2.3.
type Package struct {
	Name        string            `json:"name"`
	Category    string            `json:"category"`
	Version     string            `json:"version"`
	Requires    []*Package        `json:"requires"`
	Conflicts   []*Package        `json:"conflicts"`
	Provides    []*Package        `json:"provides"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Description string            `json:"description"`
	License     string            `json:"license"`
	Uri         []string          `json:"uri"`
	Hidden      bool              `json:"hidden"`
	UseFlags    []string          `json:"use_flags"`
}

// jsonable gives maps keys of text, as ghodss/yaml does.
func jsonable(value interface{}) (interface{}, error) {
	var err error
	switch value := value.(type) {
	case map[interface{}]interface{}:
		made := map[string]interface{}{}
		for key, item := range value {
			switch key.(type) {
			case string, int, bool:
			default:
				return nil, fmt.Errorf("a key of type %T", key)
			}
			if made[fmt.Sprint(key)], err = jsonable(item); err != nil {
				return nil, err
			}
		}
		return made, nil
	case []interface{}:
		made := make([]interface{}, len(value))
		for i, item := range value {
			if made[i], err = jsonable(item); err != nil {
				return nil, err
			}
		}
		return made, nil
	}
	return value, nil
}

func read(q question) (interface{}, error) {
	var found interface{}
	if err := yaml.Unmarshal([]byte(q.Text), &found); err != nil {
		return nil, err
	}
	found, err := jsonable(found)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(found)
	if err != nil || q.Kind == "file" {
		return json.RawMessage(text), err
	}
	var made Package
	err = json.Unmarshal(text, &made)
	return made, err
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		panic(err)
	}
	answers := []answer{}
	for _, q := range questions {
		value, err := read(q)
		if err != nil {
			answers = append(answers, answer{Err: err.Error()})
		} else {
			answers = append(answers, answer{Value: value})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}
