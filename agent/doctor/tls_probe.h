#ifndef CUPEL_AGENT_DOCTOR_TLS_PROBE_H_
#define CUPEL_AGENT_DOCTOR_TLS_PROBE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/crypto/certificate.h"

namespace cupel::agent {

// What a TLS server showed, and what was checked.
struct TlsPeer {
  crypto::Certificate certificate;
  std::string tls_version;    // "TLSv1.3"
  bool speaks_http2 = false;  // by ALPN, as gRPC needs it
};

// Connects to `host` (a name or an address) and shakes hands as the agent's
// stream would: the server's certificate is checked for the host and against
// `roots_pem` alone. Sends nothing after that.
//
// Errors: kInvalidArgument where `roots_pem` holds no usable certificate;
// kNotFound, no such host; kUnavailable, nobody answers there, or not with TLS;
// kDeadlineExceeded, not within `timeout` (looking up the name is not counted);
// kPermissionDenied, the certificate is not to be trusted, with OpenSSL's
// reason.
absl::StatusOr<TlsPeer> ProbeTls(const std::string& host, uint16_t port,
                                 const std::string& roots_pem,
                                 absl::Duration timeout);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_TLS_PROBE_H_
