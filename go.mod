module edge-actions

go 1.26

require (
	github.com/hashicorp/go-version v1.9.0
	github.com/sethvargo/go-githubactions v1.3.2
	go.yaml.in/yaml/v4 v4.0.0
)
