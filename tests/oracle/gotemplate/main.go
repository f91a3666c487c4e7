// Renders templates with the real text/template, sprig and the eight functions luet adds.
// Reads a JSON list of {text, yaml, json} on stdin, writes a JSON list of {out, err}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v2"
)

type question struct{ Text, Yaml, Json string }
type answer struct {
	Out string `json:"out"`
	Err string `json:"err"`
}

// texts gives every map text keys, so that the map functions work on what fromYaml gives.
func texts(v interface{}) interface{} {
	switch v := v.(type) {
	case map[interface{}]interface{}:
		m := map[string]interface{}{}
		for key, item := range v {
			m[fmt.Sprint(key)] = texts(item)
		}
		return m
	case map[string]interface{}:
		for key, item := range v {
			v[key] = texts(item)
		}
	case []interface{}:
		for i, item := range v {
			v[i] = texts(item)
		}
	}
	return v
}

func render(q question) (a answer) {
	values := map[string]interface{}{}
	if q.Json != "" {
		if err := json.Unmarshal([]byte(q.Json), &values); err != nil {
			panic(err)
		}
	} else if err := yaml.Unmarshal([]byte(q.Yaml), &values); err != nil {
		panic(err)
	}
	root := template.New("root")
	funcs := sprig.TxtFuncMap()
	funcs["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	funcs["toYaml"] = func(v interface{}) string {
		data, err := yaml.Marshal(v)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(data), "\n")
	}
	funcs["toToml"] = func(v interface{}) string {
		var out strings.Builder
		if err := toml.NewEncoder(&out).Encode(v); err != nil {
			return err.Error()
		}
		return out.String()
	}
	funcs["toJson"] = func(v interface{}) string {
		data, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(data)
	}
	funcs["fromJson"] = func(s string) map[string]interface{} {
		m := map[string]interface{}{}
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			m["Error"] = err.Error()
		}
		return m
	}
	funcs["fromJsonArray"] = func(s string) []interface{} {
		a := []interface{}{}
		if err := json.Unmarshal([]byte(s), &a); err != nil {
			a = []interface{}{err.Error()}
		}
		return a
	}
	funcs["fromYaml"] = func(s string) map[string]interface{} {
		m := map[string]interface{}{}
		if err := yaml.Unmarshal([]byte(s), &m); err != nil {
			m["Error"] = err.Error()
		}
		return texts(m).(map[string]interface{})
	}
	funcs["fromYamlArray"] = func(s string) []interface{} {
		a := []interface{}{}
		if err := yaml.Unmarshal([]byte(s), &a); err != nil {
			a = []interface{}{err.Error()}
		}
		return texts(a).([]interface{})
	}
	root = root.Funcs(funcs).Option("missingkey=zero")
	t, err := root.Parse(q.Text)
	if err != nil {
		return answer{Err: err.Error()}
	}
	var out strings.Builder
	if err := t.Execute(&out, map[string]interface{}{"Values": values}); err != nil {
		return answer{Out: out.String(), Err: err.Error()}
	}
	return answer{Out: out.String()}
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		panic(err)
	}
	answers := []answer{}
	for _, q := range questions {
		answers = append(answers, render(q))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}
