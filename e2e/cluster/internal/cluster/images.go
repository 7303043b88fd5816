package cluster

import (
	"path/filepath"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/images"
)

// imagesLayout is to be raised when package images packs something else.
const imagesLayout = "1"

// buildImages makes the archives of the test images.
func buildImages(builder *build.Builder) (string, error) {
	program, err := builder.Ensure(build.TestServer)
	if err != nil {
		return "", err
	}
	key := imagesLayout + "-" + filepath.Base(program)
	return builder.Cached("images", key, func(staging string) error {
		return images.WriteSet(staging, filepath.Join(program, "testserver"))
	})
}
