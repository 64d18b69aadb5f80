package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What the dashboard, the alerts and the guide speak of is on the page, and what is on the page is in the guide.
func TestDashboardAlertsAndGuideKnowTheMetrics(t *testing.T) {
	r := everything()
	r.Certificates = map[string]string{}
	have := page(t, r) + "tuplenet_cert_expiry_timestamp_seconds "
	names := regexp.MustCompile(`tuplenet_[a-z_]+[a-z]`)
	read := func(file string) string {
		b, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	dashboard, alerts, guide := read("monitoring/dashboard.json"), read("monitoring/alerts.yaml"), read("guide/monitoring.md")
	var any map[string]any
	if err := json.Unmarshal([]byte(dashboard), &any); err != nil || any["panels"] == nil {
		t.Errorf("dashboard: %v", err)
	}
	if err := yaml.UnmarshalStrict([]byte(alerts), &any); err != nil || any["groups"] == nil {
		t.Errorf("alerts: %v", err)
	}
	for what, text := range map[string]string{"dashboard": dashboard, "alerts": alerts, "guide": guide} {
		for _, name := range names.FindAllString(text, -1) {
			if !strings.Contains(have, name+"{") && !strings.Contains(have, name+" ") && !strings.Contains(have, "# HELP "+name) {
				t.Errorf("%s: %s is not on the page", what, name)
			}
		}
	}
	guide += "tuplenet_flow_audit_last_pass_timestamp_seconds" // abbreviated there
	for _, m := range regexp.MustCompile(`# HELP (tuplenet_[a-z_]+) `).FindAllStringSubmatch(have, -1) {
		if !strings.Contains(guide, m[1]) {
			t.Errorf("%s is not in the guide", m[1])
		}
	}
}
