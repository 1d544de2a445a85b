// Package ec2test is a FAKE of Amazon EC2 and of the instance metadata service,
// for tests: AWS itself cannot be had there.
//
//	f := ec2test.New(ec2test.World{…}, ec2test.Options{})
//	api := httptest.NewTLSServer(f)            // the EC2 Query API
//	imds := httptest.NewServer(f.Metadata(func(*http.Request) string { return "i-1" }))
//
// or without a network, in virtual time: [Fake.Client] is an HTTP client that
// calls the fake directly.
//
// It is our own reading of AWS's reference, written without the SDK's code, so
// that the two can disagree. Each rule stands beside the page that it is taken
// from; "API" is short for https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
// and "Guide" for https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/. What AWS
// leaves open (how long things take, how old a reading may be, which of two
// errors comes first) is set by [Options] or said in a comment to be our guess.
// What EC2 has and this does not is refused, never ignored: unknown actions,
// parameters and filters are errors, as they are with EC2.
package ec2test
