// The files that an operator shows and believes.
#ifndef CUPEL_TENANT_RPC_CREDENTIALS_H_
#define CUPEL_TENANT_RPC_CREDENTIALS_H_

#include <string>

#include "absl/status/statusor.h"

namespace cupel::tenant {

struct CredentialFiles {
  // PEM, certificates and nothing else; in the second the operator's first.
  std::string ca;
  std::string certificate;
  std::string key;  // PEM, without a passphrase
};

// Their content, found to be usable: gRPC itself would say no more than that a
// channel is lame.
struct CredentialTexts {
  std::string ca;
  std::string certificate;
  std::string key;
};

// Reads the three. Errors, each naming the file and what to do: those of
// ReadFile; kInvalidArgument for a path that is empty, a file with another PEM
// block than certificates or without a key, a key with a passphrase, or one
// that is not the certificate's; kFailedPrecondition for a certificate that has
// expired or is not valid yet.
absl::StatusOr<CredentialTexts> LoadCredentials(const CredentialFiles& files);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_RPC_CREDENTIALS_H_
