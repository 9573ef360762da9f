// Command promql reads the chart's alerts as Prometheus reads a rule file, with their templates, and each expression of a Grafana
// dashboard by Prometheus' own parser: promql ALERTS DASHBOARD.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// What Grafana puts into an expression before Prometheus sees it.
var filledIn = strings.NewReplacer("$__rate_interval", "5m", "$namespace", "bank")

type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: promql ALERTS DASHBOARD")
		os.Exit(2)
	}
	expressions := parser.NewParser(parser.Options{})
	rules, err := alerts(os.Args[1], expressions)
	panels, wrong := ofDashboard(os.Args[2], expressions)
	if err := errors.Join(err, wrong); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if rules == 0 || panels == 0 {
		fmt.Fprintf(os.Stderr, "%d alerts and %d expressions of the dashboard: one of the files is empty\n", rules, panels)
		os.Exit(1)
	}
	fmt.Printf("%d alerts and %d expressions of the dashboard are PromQL\n", rules, panels)
}

func alerts(file string, expressions parser.Parser) (int, error) {
	groups, errs := rulefmt.ParseFile(file, false, model.LegacyValidation, expressions, slog.Default())
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	count := 0
	for _, group := range groups.Groups {
		count += len(group.Rules)
	}
	return count, nil
}

func ofDashboard(file string, expressions parser.Parser) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var board dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	var errs []error
	count := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			expression := filledIn.Replace(target.Expr)
			if _, err := expressions.ParseExpr(expression); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %s: %w", file, panel.Title, expression, err))
			}
			count++
		}
	}
	return count, errors.Join(errs...)
}
