// Where an option names a PEM file, or a folder of them.
#ifndef CUPEL_VERIFIER_PKI_PEM_FILES_H_
#define CUPEL_VERIFIER_PKI_PEM_FILES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/public_key.h"

namespace cupel::verifier {

// No certificate, chain or key is as large, in bytes.
inline constexpr size_t kMaxPemFileSize = size_t{1} << 20;

// `path` itself, or, where it is a folder, the files in it that end in .pem or
// .crt, in the order of their names. kUnavailable where it can't be read.
absl::StatusOr<std::vector<std::string>> PemFiles(const std::string& path);

// The public key of each file of `path` (the first one, or that of the first
// certificate). kFailedPrecondition where there is none; ReadFile's errors and
// PublicKey::FromPem's, with the file's name.
absl::StatusOr<std::vector<crypto::PublicKey>> LoadPublicKeys(
    const std::string& path);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_PEM_FILES_H_
