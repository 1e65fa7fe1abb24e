package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"

	"edge-actions/internal/verdict"

	"go.yaml.in/yaml/v4"
)

// kubeconfigPort is where K3s serves its API.
const kubeconfigPort = "6443"

// maxKubeconfig is far more than K3s writes: 3 KB.
const maxKubeconfig = 1 << 20

var serverForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// Kubeconfig turns /etc/rancher/k3s/k3s.yaml, as it was read from a node, into
// one for the operator: the same, with the server's address. It refuses what
// is not whole, so that a connection that broke never empties a good file.
// What it returns is a credential: files.Write it, with its mode 0600.
func Kubeconfig(raw []byte, server string) ([]byte, error) {
	address, err := netip.ParseAddr(server)
	if err == nil && address.Zone() != "" || err != nil && !serverForm.MatchString(server) {
		return nil, verdict.Refuse("kubeconfig-server", "the name or the address by which the node is reached", quote(server), "correct it; the port is "+kubeconfigPort)
	}
	out, err := rewrite(raw, "https://"+net.JoinHostPort(server, kubeconfigPort))
	if err != nil {
		// What yaml says of a document may show parts of it: not passed on.
		return nil, verdict.CannotTell("kubeconfig", "a whole kubeconfig with a cluster, a user and their certificates", err, "see /etc/rancher/k3s/k3s.yaml on the node, and whether K3s has started")
	}
	return out, nil
}

// config is what of a kubeconfig is checked.
type config struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Current    string `yaml:"current-context"`
	Clusters   []struct {
		Name    string `yaml:"name"`
		Cluster struct {
			CA string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Users []struct {
		Name string `yaml:"name"`
		User struct {
			Certificate string `yaml:"client-certificate-data"`
			Key         string `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

func rewrite(raw []byte, url string) ([]byte, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, errors.New("an empty file")
	}
	if len(raw) > maxKubeconfig {
		return nil, fmt.Errorf("%d bytes", len(raw))
	}
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(raw))
	var c config
	if d.Decode(&doc) != nil || doc.Decode(&c) != nil {
		return nil, errors.New("no YAML of that form")
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if !setServer(&doc, url) {
		return nil, errors.New("a cluster without a server")
	}
	return yaml.Marshal(&doc)
}

// check refuses what K3s does not write whole: one cluster, one user, and a
// context for both.
func (c *config) check() error {
	switch {
	case c.APIVersion != "v1" || c.Kind != "Config":
		return errors.New("another kind of document, or a part of one")
	case len(c.Clusters) != 1 || len(c.Users) != 1 || len(c.Contexts) != 1:
		return fmt.Errorf("%d clusters, %d users, %d contexts: not one each", len(c.Clusters), len(c.Users), len(c.Contexts))
	}
	context := c.Contexts[0]
	if context.Name != c.Current || context.Context.Cluster != c.Clusters[0].Name || context.Context.User != c.Users[0].Name {
		return errors.New("a current context that does not lead to the cluster and the user")
	}
	ca, err := base64.StdEncoding.DecodeString(c.Clusters[0].Cluster.CA)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return errors.New("no certificate of the cluster's authority")
	}
	certificate, err := base64.StdEncoding.DecodeString(c.Users[0].User.Certificate)
	if err != nil {
		return errors.New("no certificate of the user")
	}
	key, err := base64.StdEncoding.DecodeString(c.Users[0].User.Key)
	if err != nil {
		return errors.New("no key of the user")
	}
	if _, err := tls.X509KeyPair(certificate, key); err != nil {
		return errors.New("a certificate and a key of the user that do not belong together, or are cut off")
	}
	return nil
}

// setServer changes the one value and leaves the rest as it is written.
func setServer(doc *yaml.Node, url string) bool {
	cluster := child(doc.Content[0], "clusters")
	if cluster == nil || len(cluster.Content) != 1 {
		return false
	}
	server := child(child(cluster.Content[0], "cluster"), "server")
	if server == nil || server.Kind != yaml.ScalarNode || server.Value == "" {
		return false
	}
	server.SetString(url)
	return true
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
