// Package catalog holds the record table: what each node publishes, and what
// this node makes of it.
//
// # The story of a record
//
// A node adds an alias:
//
//	view := c.Update(func(own *catalog.Edit) {
//		err = own.Put(catalog.Record{
//			Name: "mysql-server", Addr: self, TTL: 60,
//			Priority: catalog.Master, Weight: 100, Active: true,
//		})
//	})
//
// The record joins the Set of its owner, the only node that ever changes it,
// and the set's version rises by one. Update reserves the version on disk,
// puts the set into a new View and returns that view. Readers who ask from now
// on get it; readers who hold the view before keep reading what they had.
//
// Whoever waits for changes learns of it:
//
//	for v := c.View(); ; {
//		select {
//		case <-v.Superseded():
//		case <-ctx.Done():
//			return
//		}
//		next := c.View()
//		for change := range next.Diff(v) {
//			…
//		}
//		v = next
//	}
//
// One of them, gossip, sends the set to its peers, or the Delta to peers that
// hold an earlier version. A peer decodes it and merges it: the higher version
// wins, and between equal versions the higher hash. Since a set has one
// writer, no clock is asked, and it does not matter in which order, how often
// or by which way sets arrive.
//
// The peer shows the record while its owner is alive:
//
//	c.SetStatus(owner, catalog.Dead, now)
//
// hides it, from names and addresses alike. The set itself stays for a day,
// until Expire drops it. So the name stays ours and is not forwarded to
// resolvers that would deny it, and a late copy of the set, from a node that
// was cut off, is recognised as old and cannot raise a record that was deleted
// since. When the owner is alive again, its record is back at once.
//
// A node that lost its state starts below the version that its peers hold.
// The first of them that shows it its own old set makes it step past that
// version, with its present records, and with transition numbers that are not
// below those seen before.
//
// # Costs
//
// Reading a name takes one atomic load and one hash lookup, no lock and no
// allocation. All tables are persistent: a change copies what lies between the
// root and the record, some kilobytes whatever the size of the table, the
// entries of its name, and computes one SHA-256 over the record.
//
// The package reads no clock, starts no goroutine and logs nothing: outcomes
// and errors tell callers what to log.
package catalog
