# What the certificate manager may do in Vault, and nothing else.
path "pki/sign/pods" {
  capabilities = ["update"]
}
path "pki/issue/pods-issue" {
  capabilities = ["update"]
}
path "pki/roles/pods" {
  capabilities = ["read"]
}
path "pki/roles/pods-issue" {
  capabilities = ["read"]
}
path "pki/issuers" {
  capabilities = ["list"]
}
path "pki/issuer/+" {
  capabilities = ["read"]
}

# Only where certificates are to be revoked (docs/revocation.md); `podcert bootstrap --revoke` writes it.
# path "pki/revoke" {
#   capabilities = ["update"]
# }
