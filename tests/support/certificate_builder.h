// Certificates of a test's own PKI: real keys, real signatures.
#ifndef CUPEL_TESTS_SUPPORT_CERTIFICATE_BUILDER_H_
#define CUPEL_TESTS_SUPPORT_CERTIFICATE_BUILDER_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/crypto/certificate.h"
#include "common/crypto/openssl.h"
#include "tests/support/fake_tpm.h"

namespace cupel::testing {

// The time that tests take for now.
absl::Time TestTime();

// An attribute of a name: an OpenSSL name or a dotted number, and its value.
using NameAttributes = std::vector<std::pair<std::string, std::string>>;

// What a certificate says. Set what the test is about.
struct CertificateSpec {
  NameAttributes subject = {{"CN", "test"}};
  FakeKeyKind key_kind = FakeKeyKind::kEcP256;
  int key_index = 0;
  absl::Time not_before = TestTime() - absl::Hours(24);
  absl::Time not_after = TestTime() + absl::Hours(24);
  std::optional<bool> is_ca = false;  // nullopt: no basicConstraints
  std::optional<int> path_length;
  std::string key_usage;          // OpenSSL's words; empty: no such extension
  std::vector<std::string> ekus;  // dotted numbers
  NameAttributes san_directory;
  std::vector<std::string> san_uris;
  bool is_san_critical = false;
  bool has_unknown_critical = false;
  const EVP_MD* hash = EVP_sha256();
};

struct TestCertificate {
  crypto::Certificate certificate;
  std::shared_ptr<EVP_PKEY> key;
};

// Signed by `issuer`, by itself without one. Ends the process where OpenSSL
// fails.
TestCertificate MakeCertificate(const CertificateSpec& spec,
                                const TestCertificate* issuer = nullptr);

// A CA, and an EK's certificate as the TCG's profile has it: empty subject and
// critical subjectAltName.
CertificateSpec CaSpec(const std::string& name, int key_index);
CertificateSpec EkSpec(FakeKeyKind kind, int key_index);

std::string ToPem(const crypto::Certificate& certificate);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_CERTIFICATE_BUILDER_H_
