// Package ec2 does what an operator of Murakumo needs of Amazon EC2: read who
// is there, and move a service from one instance to another. It is used by
// cmd/murakumo-ec2 only; the daemon reaches clouds through executables and
// links none of this.
//
//	s, err := ec2.Open(ctx, ec2.Settings{Region: "ap-northeast-1"})
//	if err != nil { … }
//	us, err := s.Target(ctx, ec2.Place{})            // the instance that we are on
//	r := ec2.Move(ctx, ec2.NewInterface(s.EC2, "eni-0a1b", us.Instance, 1), ec2.Rules{})
//
// # Client
//
// [Client] speaks the EC2 Query API: a form goes out, signed with version 4 by
// the SDK's signer, XML comes back as a tree of [Node]. There are no types per
// action: about fifteen actions are needed, the typed package costs two minutes
// of compilation, and the query command needs the untyped form anyway.
// Credentials come from the SDK's chain, and [Metadata] is its IMDSv2 client
// with version 1 switched off.
//
// # Moving
//
// Four things can be moved, each a [Thing]: an interface ([NewInterface]), an
// Elastic IP ([NewAddress]), a secondary private address ([NewPrivateIP]) and a
// route ([NewRoute]). [Move] reads who holds the thing, lets that holding go,
// takes the thing, and reads until it is seen to be ours. What to do next is
// decided by [Takeover.Step], which is pure; testdata/takeover has its stories.
//
// The holding itself is the lock. An attachment has an id, and only the id that
// was read first is ever detached, never "whatever is attached now". EC2
// refuses to attach what is attached. So when two hosts take one interface at
// once, one of them gets it, and the other sees a holding that is neither the
// one it read nor its own, and reports that it has lost:
//
//	         read                       read
//	           │                          │
//	A1 held by old host        A1 held by old host
//	           │                          │
//	      detach A1                  detach A1 (it is going already)
//	           │                          │
//	   free: attach ──▶ A2       free: attach ──▶ refused, in use
//	           │                          │
//	   A2, ours: taken          A2, not ours, not A1: lost (exit status 4)
//
// A private address has no id for its holding; the interface that holds it
// stands in, so a holding that ends and begins again on the same interface looks
// like one. A route has no lock at all: a replacement is unconditional, the last
// one wins, and each caller reads again after a while to see whether it was its
// own.
package ec2
