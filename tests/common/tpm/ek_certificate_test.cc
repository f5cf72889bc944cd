#include "common/tpm/ek_certificate.h"

#include <functional>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/certificate_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using ::cupel::testing::CertificateSpec;
using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

absl::StatusOr<TpmIdentity> Validate(const CertificateSpec& spec) {
  return ValidateEkCertificate(MakeCertificate(spec).certificate);
}

TEST_CASE("an EK's certificate tells which TPM it is of", "[tpm][ek]") {
  CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 70);
  const auto identity = Validate(spec);
  REQUIRE_THAT(StatusOf(identity), IsOk());
  CHECK(*identity == TpmIdentity{"id:00001014", "model", "id:00010002"});
  SECTION("a subject frees the extension from being critical") {
    spec.subject = {{"CN", "unknown"}};
    spec.is_san_critical = false;
  }
  SECTION("more usages, more names") {
    spec.ekus.emplace_back("2.23.133.8.3");
    spec.san_uris = {"urn:tpm"};
    spec.san_directory.emplace_back("CN", "more");
  }
  SECTION("basicConstraints may lack") { spec.is_ca = std::nullopt; }
  CHECK(*Validate(spec) == *identity);
}

TEST_CASE("a certificate that lacks one thing is none of an EK", "[tpm][ek]") {
  struct Case {
    const char* description;
    std::function<void(CertificateSpec&)> change;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"no usage", [](auto& s) { s.ekus.clear(); }, "2.23.133.8.1"},
      {"TLS client", [](auto& s) { s.ekus = {"1.3.6.1.5.5.7.3.2"}; },
       "2.23.133.8.1"},
      {"AK", [](auto& s) { s.ekus = {"2.23.133.8.3"}; }, "2.23.133.8.1"},
      {"any usage", [](auto& s) { s.ekus = {"2.5.29.37.0"}; }, "2.23.133.8.1"},
      {"platform", [](auto& s) { s.ekus = {"2.23.133.8.2"}; }, "platform"},
      {"platform as well", [](auto& s) { s.ekus.emplace_back("2.23.133.8.2"); },
       "platform"},
      {"a CA that may not sign", [](auto& s) { s.is_ca = true; }, "CA"},
      {"a CA",
       [](auto& s) {
         s.is_ca = true;
         s.key_usage = "keyCertSign";
       },
       "CA"},
      {"no alternative name", [](auto& s) { s.san_directory.clear(); },
       "no subjectAltName"},
      {"a URI alone",
       [](auto& s) {
         s.san_directory.clear();
         s.san_uris = {"urn:x"};
       },
       "no directory name"},
      {"not critical", [](auto& s) { s.is_san_critical = false; },
       "not critical"},
      {"no manufacturer",
       [](auto& s) { s.san_directory.erase(s.san_directory.begin()); },
       "lacks"},
      {"no version", [](auto& s) { s.san_directory.pop_back(); }, "lacks"},
      {"another attribute",
       [](auto& s) { s.san_directory[1].first = "2.23.133.2.99"; }, "lacks"},
      {"two models",
       [](auto& s) { s.san_directory.emplace_back("2.23.133.2.2", "x"); },
       "twice"},
      {"a long model",
       [](auto& s) { s.san_directory[1].second.assign(257, 'x'); }, "257"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.description);
    CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 70);
    REQUIRE_THAT(StatusOf(Validate(spec)), IsOk());
    c.change(spec);
    CHECK_THAT(StatusOf(Validate(spec)),
               StatusIs(absl::StatusCode::kPermissionDenied, c.message));
  }
}

}  // namespace
}  // namespace cupel::tpm
