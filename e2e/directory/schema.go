package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// examples has a message of each operation with all its members, by the paths of a directory.
var examples = []struct{ operation, path, body string }{
	{"connect", "/central-systems/connect", `{"id": "yunqi", "endpoint": "1.2.3.4:9904", "desc": "d", "ttl": 3600}`},
	{"syncAdapterClasses", "/adapter-classes/sync", `{"csid": "yunqi", "adapterClasses": [{"className": "odps-adapter", "desc": "d",
		"protocol": {"name": "ODPS", "version": "aspara1.0"}, "params": {"a": 1}}], "force": true, "pending": false}`},
	{"syncDataSystems", "/data-systems/sync", `{"csid": "yunqi", "dataSystems": [{"dataAddress": "yunqi.BCAE345BCAE345P0", "name": "n",
		"endpoint": "https://a.example/b", "adapterClass": "odps-adapter", "desc": "d", "params": {"a": 1}}], "force": true, "pending": true}`},
	{"retrieveCentralSystem", "/central-systems/retrieve", `{"csid": "yunqi"}`},
	{"retrieveAdapterClass", "/adapter-classes/retrieve", `{"className": "odps-adapter"}`},
	{"retrieveDataSystem", "/data-systems/retrieve", `{"dataAddress": "yunqi.BCAE345BCAE345P0"}`},
	{"searchCentralSystems", "/central-systems/search", `{"className": "odps-adapter", "limit": 10, "anyRevision": true}`},
	{"searchAdapterClasses", "/adapter-classes/search", `{"protocolName": "odps", "protocolVersion": "aspara 1.0", "limit": 10}`},
	{"disconnect", "/central-systems/disconnect", `{"id": "yunqi"}`},
}

// others stand in the place of each member: of each type, and strings that are no names.
var others = []any{nil, true, 7.0, -1.0, "", " ", "a b", "a.b", "-a", "a\nb", strings.Repeat("a", 5000), []any{}, []any{7.0}, map[string]any{}}

// schemas holds what a directory publishes against what it does: what a schema allows is taken, in an answer that is as its schema says,
// and what it refuses is refused by a strict directory.
func schemas(ctx context.Context, lenient, lenientToken, strict, strictToken string) error {
	compiler, err := published(ctx, lenient)
	if err != nil {
		return err
	}
	counted := map[bool]int{}
	for _, example := range examples {
		request, err := compiler.Compile(schemaName + "#/$defs/" + example.operation)
		if err != nil {
			return err
		}
		answer, err := compiler.Compile(schemaName + "#/$defs/" + example.operation + "Answer")
		if err != nil {
			return err
		}
		message := map[string]any{"header": map[string]any{"version": "datanet 1.0", "operation": example.operation, "revision": 0.0, "maxStaleness": 1.0}}
		if message["body"], err = jsonschema.UnmarshalJSON(strings.NewReader(example.body)); err != nil {
			return err
		}
		if err := request.Validate(message); err != nil {
			return fmt.Errorf("the example of %s: %w", example.operation, err)
		}
		for _, one := range append(variants(message), any(message)) {
			isValid := request.Validate(one) == nil
			counted[isValid]++
			status, said, err := post(ctx, lenient+example.path, lenientToken, one)
			if err != nil {
				return err
			}
			if err := answer.Validate(said); err != nil {
				return fmt.Errorf("the answer to %s %v: %v: %w", example.operation, one, said, err)
			}
			if isValid && status == http.StatusBadRequest {
				return fmt.Errorf("the schema of %s allows what is refused: %v: %v", example.operation, one, said)
			}
			status, said, err = post(ctx, strict+example.path, strictToken, one)
			if err != nil {
				return err
			}
			if !isValid && status != http.StatusBadRequest {
				return fmt.Errorf("the schema of %s refuses what a strict directory takes: %v: %v", example.operation, one, said)
			}
		}
	}
	if counted[true] < 30 || counted[false] < 300 {
		return fmt.Errorf("too little was tried: %v", counted)
	}
	fmt.Printf("ok of the messages, schemas allow %d and refuse %d, as the directory does\n", counted[true], counted[false])
	return nil
}

// schemaName is what the schemas are called here.
const schemaName = "urn:interconn:datanet:1.0"

func published(ctx context.Context, base string) (*jsonschema.Compiler, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/schema", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	document, err := jsonschema.UnmarshalJSON(answer.Body)
	if err != nil {
		return nil, err
	}
	if members, is := document.(map[string]any); !is || members["$id"] != schemaName {
		return nil, errors.New("the schemas are called otherwise")
	}
	compiler := jsonschema.NewCompiler()
	return compiler, compiler.AddResource(schemaName, document)
}

// variants are all values that differ from one in one place: a member that is another, missing, or one too many.
func variants(value any) []any {
	all := slices.Clone(others)
	switch value := value.(type) {
	case map[string]any:
		more := maps.Clone(value)
		more["more"] = 1.0
		all = append(all, more)
		for name, member := range value {
			without := maps.Clone(value)
			delete(without, name)
			all = append(all, without)
			for _, other := range variants(member) {
				changed := maps.Clone(value)
				changed[name] = other
				all = append(all, changed)
			}
		}
	case []any:
		for at, item := range value {
			for _, other := range variants(item) {
				changed := slices.Clone(value)
				changed[at] = other
				all = append(all, changed)
			}
		}
	}
	return all
}

func post(ctx context.Context, to, token string, message any) (int, any, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := jsonschema.UnmarshalJSON(answer.Body)
	return answer.StatusCode, said, err
}
