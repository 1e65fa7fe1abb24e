package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Cluster is what K3s says of its nodes, deployments and pods.
type Cluster struct {
	Nodes       []Node
	Deployments []Deployment
	Pods        []Pod
}

// Meta is how every object of the cluster begins.
type Meta struct {
	Name       string     `json:"name"`
	Namespace  string     `json:"namespace"`
	Generation int64      `json:"generation"`
	Deletion   *time.Time `json:"deletionTimestamp"`
}

func (m Meta) String() string { return quote(m.Namespace + "/" + m.Name) }

// Node is a node of the cluster.
type Node struct {
	Meta   Meta `json:"metadata"`
	Status struct {
		Info struct {
			BootID string `json:"bootID"`
		} `json:"nodeInfo"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

// Deployment is a deployment of the cluster.
type Deployment struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Replicas *int64 `json:"replicas"` // 1 if it is not there
		Template struct {
			Spec struct {
				Containers []struct {
					Name string `json:"name"`
				} `json:"containers"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		Generation int64 `json:"observedGeneration"`
		Replicas   int64 `json:"replicas"`
		Updated    int64 `json:"updatedReplicas"`
		Available  int64 `json:"availableReplicas"`
		Ready      int64 `json:"readyReplicas"`
	} `json:"status"`
}

// Pod is a pod of the cluster.
type Pod struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Node string `json:"nodeName"`
	} `json:"spec"`
	Status struct {
		Containers []Container `json:"containerStatuses"`
	} `json:"status"`
}

// Container is the status of one container of a pod.
type Container struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	State struct {
		Running *struct {
			StartedAt time.Time `json:"startedAt"`
		} `json:"running"`
		Waiting *struct {
			Reason string `json:"reason"`
		} `json:"waiting"`
		Terminated *struct {
			Reason string `json:"reason"`
		} `json:"terminated"`
	} `json:"state"`
}

// parseCluster reads the list that `kubectl get -o json` prints.
func parseCluster(out []byte) (*Cluster, error) {
	var doc struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, fmt.Errorf("kubectl printed no JSON but %s", quote(string(out)))
	}
	if doc.Kind != "List" || len(doc.Items) == 0 {
		return nil, errors.New("kubectl printed an empty list: there is not even a node in it")
	}
	c := &Cluster{}
	for _, item := range doc.Items {
		var kind struct {
			Kind string `json:"kind"`
		}
		err := json.Unmarshal(item, &kind)
		switch {
		case err != nil:
		case kind.Kind == "Node":
			err = add(&c.Nodes, item)
		case kind.Kind == "Deployment":
			err = add(&c.Deployments, item)
		case kind.Kind == "Pod":
			err = add(&c.Pods, item)
		}
		if err != nil {
			return nil, fmt.Errorf("kubectl printed an object that is not understood: %s", quote(string(item)))
		}
	}
	return c, nil
}

func add[T any](to *[]T, item json.RawMessage) error {
	var v T
	err := json.Unmarshal(item, &v)
	*to = append(*to, v)
	return err
}
