// A certificate that is taken is exactly its bytes, whatever else is asked of
// it; and nobody's but a pinned root's certificate leads to that root.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "common/crypto/certificate.h"
#include "common/crypto/certificate_path.h"
#include "common/tpm/ek_certificate.h"
#include "common/util/bytes.h"

namespace {

using cupel::crypto::Certificate;

void CheckCertificate(const Certificate& certificate) {
  const auto again = Certificate::FromDer(certificate.der());
  if (!again.ok() || !(*again == certificate)) std::abort();
  const auto cut = cupel::crypto::WithoutPadding(certificate.der());
  if (cut.ok() && cut->size() > certificate.der().size()) std::abort();
  if (certificate.fingerprint().Hex().size() != 64) std::abort();
  static_cast<void>(certificate.Subject());
  static_cast<void>(certificate.Issuer());
  static_cast<void>(certificate.GetPublicKey());
  const auto usages = certificate.ExtendedKeyUsages();
  const auto identity = cupel::tpm::ValidateEkCertificate(certificate);
  if (identity.ok()) {
    if (!usages.ok() || certificate.IsCa() || identity->model.empty()) {
      std::abort();
    }
    const auto found =
        std::ranges::find(*usages, std::string(cupel::tpm::kEkCertificateEku));
    if (found == usages->end()) std::abort();
  }
  const std::vector<Certificate> self = {certificate};
  const auto anchors = cupel::crypto::TrustAnchors::Create(self);
  if (anchors.ok() != certificate.IsCa()) std::abort();
  if (anchors.ok() &&
      cupel::crypto::VerifyPath(
          certificate, self, *anchors,
          {.time = certificate.not_before(), .required_eku = ""})
          .ok()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto cut = cupel::crypto::WithoutPadding(input);
  if (cut.ok() && (cut->data() != data || cut->size() > size)) std::abort();
  const auto der = Certificate::FromDer(input);
  if (der.ok()) CheckCertificate(*der);
  const auto bundle = Certificate::BundleFromPem(cupel::AsText(input));
  if (bundle.ok()) {
    if (bundle->empty()) std::abort();
    for (const Certificate& certificate : *bundle) {
      CheckCertificate(certificate);
    }
  }
  return 0;
}
