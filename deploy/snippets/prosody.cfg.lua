-- The bridge as a component of Prosody (0.12 or newer). The secret is the one that
-- `xmpp-matrix-bridge init` was given; the name needs no DNS if only users of this
-- server are to reach Matrix, else one that leads here.
component_ports = { 5347 }
component_interfaces = { "127.0.0.1", "::1" }

Component "matrix.example.org"
    component_secret = "the secret"

-- For MUCs that Matrix users are to enter: an archive, from which the bridge catches
-- up after an interruption.
Component "conference.example.org" "muc"
    modules_enabled = { "muc_mam" }
    muc_log_by_default = true
