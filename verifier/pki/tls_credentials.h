// What a TLS listener shows.
#ifndef CUPEL_VERIFIER_PKI_TLS_CREDENTIALS_H_
#define CUPEL_VERIFIER_PKI_TLS_CREDENTIALS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"

namespace cupel::verifier {

struct TlsCredentials {
  std::string certificate_pem;        // the leaf, then its issuers
  std::string key_pem;                // secret
  crypto::Digest certificate_sha256;  // of the leaf's DER
  absl::Time not_before;
  absl::Time not_after;
};

// Reads a certificate and its key, as often as it takes for them to belong
// together: `renew` may come between.
//
// kFailedPrecondition, with the cure, if they don't belong together, or the key
// may be read or written by everybody; kInvalidArgument if either is malformed,
// any certificate of the file counted, or is weaker than TLS takes; the errors
// of ReadFile.
absl::StatusOr<TlsCredentials> LoadTlsCredentials(
    const std::string& certificate_path, const std::string& key_path);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_TLS_CREDENTIALS_H_
