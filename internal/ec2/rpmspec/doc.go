// Package rpmspec writes an RPM spec for a zip of command line tools that
// somebody else made, such as ec2-api-tools.zip, and builds the RPM.
//
//	a, err := rpmspec.Fetch(ctx, "ec2-api-tools.zip")
//	if err != nil { … }
//	defer a.Close()
//	spec, err := rpmspec.New(a, rpmspec.Options{Prefix: "/usr"})
//	if err != nil { … }
//	os.Stdout.WriteString(spec.Text())
//	rpm, err := spec.Build(ctx, ".")
//
// The archive has one folder at its top, whose name ends in the version
// (ec2-api-tools-1.5.2.4/); of what is inside, bin and lib are installed. A spec
// is a program that runs as whoever builds it, and the archive is a stranger's:
// so its names are held to a small set of characters, and whatever could write
// outside of the build's own folder is refused before anything is unpacked.
package rpmspec
