package data

import (
	_ "embed" // for the images
	"strings"
)

// emojiZip holds Google's Noto Emoji, one per base emoji, 64x64 RGB png over
// white, named CLASS_NAME.png. Artwork: Apache License 2.0, (c) Google.
//
//go:embed noto-emoji-64.zip
var emojiZip string

// openEmoji opens the built-in set.
func openEmoji() (*collection, error) {
	const title = "built-in emoji set"
	c, err := newZip(strings.NewReader(emojiZip), int64(len(emojiZip)), title, func() error { return nil })
	if err != nil {
		return nil, err
	}
	c.title = title
	return c, nil
}
