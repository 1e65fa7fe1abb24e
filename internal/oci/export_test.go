package oci

import "time"

// SetWall sets the machine's clock for a test.
func (c *Client) SetWall(wall func() time.Time) { c.clock.wall = wall }
