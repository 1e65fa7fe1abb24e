# One node in the shape of Oracle Cloud's, made of terraform_data so that it needs
# no account. What a cloud says by itself comes in by variables here.

terraform {
  required_version = ">= 1.10.0"

  # The path comes from the workflow: the state lives on the runner.
  backend "local" {}
}

variable "node" {
  description = "The node to provision."
  type = object({
    name         = string
    instance_id  = optional(string, "ocid1.instance.oc1.eu-frankfurt-1.example")
    private_ip   = string
    ssh_host_key = optional(string)
  })
  default = { name = "edge-1", private_ip = "10.0.0.10" }
}

resource "terraform_data" "node" {
  input = var.node
}

output "edge_nodes" {
  description = "What the runtime repository is told."
  value = [{
    name         = terraform_data.node.output.name
    instance_id  = terraform_data.node.output.instance_id
    private_ip   = terraform_data.node.output.private_ip
    ssh_host_key = terraform_data.node.output.ssh_host_key
  }]
}
