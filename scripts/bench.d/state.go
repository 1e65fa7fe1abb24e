package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

// instance is one compute instance as OpenTofu writes it to a state: indented,
// with the attributes of the oci provider's schema, most of them null. What
// differs between instances, ids, keys, addresses and what cloud-init gets, is
// random, so that it packs as badly as it does in a real state.
const instance = `    {
      "mode": "managed",
      "type": "oci_core_instance",
      "name": "edge_%[1]d",
      "provider": "provider[\"registry.example/oracle/oci\"]",
      "instances": [
        {
          "schema_version": 0,
          "attributes": {
            "agent_config": [
              {
                "are_all_plugins_disabled": false,
                "is_management_disabled": false,
                "is_monitoring_disabled": false,
                "plugins_config": [
                  {
                    "desired_state": "DISABLED",
                    "name": "Vulnerability Scanning"
                  },
                  {
                    "desired_state": "ENABLED",
                    "name": "Compute Instance Monitoring"
                  },
                  {
                    "desired_state": "DISABLED",
                    "name": "Bastion"
                  }
                ]
              }
            ],
            "async": null,
            "availability_config": [
              {
                "is_live_migration_preferred": false,
                "recovery_action": "RESTORE_INSTANCE"
              }
            ],
            "availability_domain": "Uocm:EU-FRANKFURT-1-AD-%[2]d",
            "boot_volume_id": "%[3]s",
            "capacity_reservation_id": null,
            "cluster_placement_group_id": "",
            "compartment_id": "%[4]s",
            "compute_cluster_id": null,
            "create_vnic_details": [
              {
                "assign_ipv6ip": false,
                "assign_private_dns_record": false,
                "assign_public_ip": "true",
                "defined_tags": {
                  "Oracle-Tags.CreatedBy": "infra/ci",
                  "Oracle-Tags.CreatedOn": "%[5]s"
                },
                "display_name": "edge-%[1]d",
                "freeform_tags": {},
                "hostname_label": "edge-%[1]d",
                "ipv6address_ipv6subnet_cidr_pair_details": [],
                "nsg_ids": [
                  "%[6]s"
                ],
                "private_ip": "%[7]s",
                "security_attributes": {},
                "skip_source_dest_check": false,
                "subnet_id": "%[8]s",
                "vlan_id": ""
              }
            ],
            "dedicated_vm_host_id": null,
            "defined_tags": {
              "Oracle-Tags.CreatedBy": "infra/ci",
              "Oracle-Tags.CreatedOn": "%[5]s"
            },
            "display_name": "edge-%[1]d",
            "extended_metadata": {},
            "fault_domain": "FAULT-DOMAIN-%[2]d",
            "freeform_tags": {
              "role": "edge"
            },
            "hostname_label": "edge-%[1]d",
            "id": "%[9]s",
            "image": "%[10]s",
            "instance_configuration_id": null,
            "instance_options": [
              {
                "are_legacy_imds_endpoints_disabled": true
              }
            ],
            "ipxe_script": null,
            "is_cross_numa_node": false,
            "is_pv_encryption_in_transit_enabled": true,
            "launch_mode": "PARAVIRTUALIZED",
            "launch_options": [
              {
                "boot_volume_type": "PARAVIRTUALIZED",
                "firmware": "UEFI_64",
                "is_consistent_volume_naming_enabled": true,
                "is_pv_encryption_in_transit_enabled": true,
                "network_type": "PARAVIRTUALIZED",
                "remote_data_volume_type": "PARAVIRTUALIZED"
              }
            ],
            "launch_volume_attachments": [],
            "metadata": {
              "ssh_authorized_keys": "ssh-ed25519 %[11]s infra@ci",
              "user_data": "%[12]s"
            },
            "platform_config": [],
            "preemptible_instance_config": [],
            "preserve_boot_volume": false,
            "private_ip": "%[7]s",
            "public_ip": "%[13]s",
            "region": "eu-frankfurt-1",
            "security_attributes_state": "STABLE",
            "shape": "VM.Standard.A1.Flex",
            "shape_config": [
              {
                "baseline_ocpu_utilization": "",
                "gpu_description": "",
                "gpus": 0,
                "max_vnic_attachments": 2,
                "memory_in_gbs": 24,
                "networking_bandwidth_in_gbps": 4,
                "nvmes": 0,
                "ocpus": 4,
                "processor_description": "3.0 GHz Ampere Altra",
                "vcpus": 4
              }
            ],
            "source_details": [
              {
                "boot_volume_size_in_gbs": "100",
                "boot_volume_vpus_per_gb": "10",
                "instance_source_image_filter_details": [],
                "kms_key_id": "%[14]s",
                "source_id": "%[10]s",
                "source_type": "image"
              }
            ],
            "state": "RUNNING",
            "subnet_id": "%[8]s",
            "system_tags": {},
            "time_created": "%[5]s",
            "time_maintenance_reboot_due": "",
            "timeouts": null,
            "update_operation_constraint": null
          },
          "sensitive_attributes": [],
          "private": "%[15]s",
          "dependencies": [
            "oci_core_network_security_group.edge",
            "oci_core_subnet.edge"
          ]
        }
      ]
    }`

// cloudInit is what an instance is born with; %s are its name and its key.
const cloudInit = `#cloud-config
hostname: %s
fqdn: %[1]s.edge.example
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
    -----BEGIN OPENSSH %s KEY-----
    %s
    -----END OPENSSH %[2]s KEY-----
write_files:
  - path: /etc/ssh/sshd_config.d/10-edge.conf
    permissions: '0600'
    content: |
      PasswordAuthentication no
      KbdInteractiveAuthentication no
      PermitRootLogin prohibit-password
runcmd:
  - [systemctl, restart, ssh]
`

type generator struct{ *rand.Rand }

func newGenerator() generator { return generator{rand.New(rand.NewPCG(44, 177))} }

// ocid is an id as Oracle's cloud makes them: 60 random letters and digits.
func (g generator) ocid(kind string) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	b := make([]byte, 60)
	for i := range b {
		b[i] = letters[g.IntN(len(letters))]
	}
	return "ocid1." + kind + ".oc1.eu-frankfurt-1." + string(b)
}

func (g generator) base64(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (g generator) ip() string {
	return fmt.Sprintf("10.%d.%d.%d", g.IntN(256), g.IntN(256), g.IntN(256))
}

func (g generator) instance(i int, shared [4]string) string {
	name := fmt.Sprintf("edge-%d", i)
	user := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, cloudInit, name, "PRIVATE", g.base64(290)))
	when := fmt.Sprintf("2026-%02d-%02d %02d:%02d:%02d.%03d +0000 UTC", 1+g.IntN(12), 1+g.IntN(28), g.IntN(24), g.IntN(60), g.IntN(60), g.IntN(1000))
	return fmt.Sprintf(instance, i, 1+g.IntN(3), g.ocid("bootvolume"), shared[0], when, shared[1], g.ip(), shared[2], g.ocid("instance"), shared[3],
		g.base64(51), user, g.ip(), g.ocid("key"), g.base64(100))
}

// writeState writes a state of exactly size bytes: instances, and an output
// that fills what is left.
func writeState(path string, size int) error {
	g := newGenerator()
	shared := [4]string{g.ocid("compartment"), g.ocid("networksecuritygroup"), g.ocid("subnet"), g.ocid("image")}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	written := 0
	put := func(s string) { n, _ := w.WriteString(s); written += n }
	put("{\n  \"version\": 4,\n  \"terraform_version\": \"1.12.6\",\n  \"serial\": 41,\n  \"lineage\": \"5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a\",\n  \"resources\": [")
	const end, last = "\n  ],\n  \"outputs\": {\n    \"note\": {\n      \"value\": \"", "\",\n      \"type\": \"string\"\n    }\n  },\n  \"check_results\": null\n}\n"
	for i := 0; ; i++ {
		one := "\n" + g.instance(i, shared)
		if i > 0 {
			one = "," + one
		}
		if written+len(one)+len(end)+len(last) > size {
			break
		}
		put(one)
	}
	put(end)
	put(strings.Repeat("x", size-written-len(last)))
	put(last)
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// compact is one instance's attributes as a plan has them: without blanks.
func (g generator) compact(i int, shared [4]string) []byte {
	_, attributes, _ := strings.Cut(g.instance(i, shared), `"attributes": `)
	attributes, _, _ = strings.Cut(attributes, ",\n          \"sensitive_attributes\"")
	var b bytes.Buffer
	for line := range strings.Lines(attributes) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.Bytes()
}
