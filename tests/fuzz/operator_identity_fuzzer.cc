// A certificate that names an operator names a valid tenant and a known role,
// and a list of denied keys is read in full or not at all.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "common/util/bytes.h"
#include "verifier/pki/deny_list.h"
#include "verifier/pki/operator_identity.h"

namespace {

using ::cupel::verifier::OperatorIdentity;

void Check(const absl::StatusOr<OperatorIdentity>& identity) {
  namespace verifier = cupel::verifier;
  if (!identity.ok()) return;
  if (!verifier::ValidateTenantName(identity->tenant).ok()) std::abort();
  const auto role =
      verifier::ParseOperatorRole(verifier::OperatorRoleName(identity->role));
  if (!role.ok() || *role != identity->role) std::abort();
  if (identity->spki_sha256.size() != 64) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace verifier = cupel::verifier;
  Check(verifier::OperatorIdentityFromDer({data, size}));
  const auto text = cupel::AsText({data, size});
  Check(verifier::OperatorIdentityFromPem(text));
  if (const auto denied = verifier::ParseDenyList(text); denied.ok()) {
    std::string again;
    for (const std::string& digest : *denied) {
      if (digest.size() != 64) std::abort();
      again += digest + "\n";
    }
    const auto reparsed = verifier::ParseDenyList(again);
    if (!reparsed.ok() || *reparsed != *denied) std::abort();
  }
  return 0;
}
