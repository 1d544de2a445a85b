package control

import (
	"context"
	"net/http"
	"net/url"
)

// reportBody is the body of POST /v1/checks/NAME/report.
type reportBody struct {
	Verdict string `json:"verdict"`
}

// report takes an application's verdict. Applications report every few seconds;
// what a report changes is logged by the check.
func (h *handler) report(_ http.ResponseWriter, r *http.Request, _ url.Values) (any, error) {
	name, err := checkName(r.PathValue("name"))
	if err != nil {
		return nil, &Error{Invalid, err}
	}
	var body reportBody
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Verdict != "good" && body.Verdict != "bad" {
		return nil, Errorf(Invalid, "verdict: %q is neither good nor bad", body.Verdict)
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestPatience)
	defer cancel()
	return routine{}, h.node.Report(ctx, name, body.Verdict == "good")
}

// Report tells the asked node how the service behind one of its aliases is. The
// health check of the alias has to be one that takes reports.
func (c *Client) Report(ctx context.Context, name string, good bool) error {
	name, err := checkName(name)
	if err != nil {
		return &Error{Invalid, err}
	}
	body := reportBody{"bad"}
	if good {
		body.Verdict = "good"
	}
	return c.call(ctx, changePatience, http.MethodPost, "/v1/checks/"+url.PathEscape(name)+"/report", body, nil)
}
