#include "common/crypto/certificate.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using ::cupel::testing::CaSpec;
using ::cupel::testing::CertificateSpec;
using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestTime;
using ::cupel::testing::ToPem;

using testing::kInvalid;

TEST_CASE("A certificate says what stands in it") {
  CertificateSpec spec;
  spec.subject = {{"O", "Example"}, {"CN", "a\nb"}};
  spec.san_uris = {"cupel://tenant/T/role/admin", "urn:x"};
  spec.ekus = {"2.23.133.8.1", "1.3.6.1.5.5.7.3.2"};
  const auto made = MakeCertificate(spec);
  const Certificate& certificate = made.certificate;
  CHECK(certificate.not_before() == TestTime() - absl::Hours(24));
  CHECK(certificate.not_after() == TestTime() + absl::Hours(24));
  CHECK(certificate.Subject() == certificate.Issuer());
  CHECK(certificate.Subject().find('\n') == std::string::npos);
  CHECK_FALSE(certificate.HasEmptySubject());
  CHECK_FALSE(certificate.IsCa());
  CHECK(*certificate.ExtendedKeyUsages() == spec.ekus);
  CHECK(certificate.fingerprint() ==
        Hash(HashAlgorithm::kSha256, certificate.der()));
  const auto key = certificate.GetPublicKey();
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK(EVP_PKEY_eq(key->get(), made.key.get()) == 1);

  CHECK(MakeCertificate(CaSpec("x", 1)).certificate.IsCa());
  const auto ek = MakeCertificate(EkSpec(FakeKeyKind::kEcP384, 2));
  CHECK(ek.certificate.HasEmptySubject());
  CHECK(ek.certificate.GetPublicKey()->type() == KeyType::kEcP384);
}

TEST_CASE("A CA says so in basicConstraints and may sign") {
  CertificateSpec spec = CaSpec("x", 1);
  REQUIRE(MakeCertificate(spec).certificate.IsCa());
  SECTION("no basicConstraints") { spec.is_ca = std::nullopt; }
  SECTION("not a CA") { spec.is_ca = false; }
  SECTION("it may not sign") { spec.key_usage = "digitalSignature"; }
  CHECK_FALSE(MakeCertificate(spec).certificate.IsCa());
}

TEST_CASE("DER is taken exactly") {
  const auto made = MakeCertificate({});
  const std::vector<uint8_t> der = ToVector(made.certificate.der());
  const auto parsed = Certificate::FromDer(der);
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  CHECK(*parsed == made.certificate);
  for (size_t size = 0; size < der.size(); ++size) {
    CHECK_THAT(StatusOf(Certificate::FromDer(std::span(der).first(size))),
               StatusIs(kInvalid));
  }
  std::vector<uint8_t> longer = der;
  longer.push_back(0);
  CHECK_THAT(StatusOf(Certificate::FromDer(longer)),
             StatusIs(kInvalid, "left over"));
  longer.resize(kMaxCertificateSize + 1);
  CHECK_THAT(StatusOf(Certificate::FromDer(longer)),
             StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_CASE("The padding of an NV index is cut off") {
  const auto made = MakeCertificate({});
  const std::vector<uint8_t> der = ToVector(made.certificate.der());
  for (const uint8_t fill : std::vector<uint8_t>{0x00, 0xff, 0x30}) {
    std::vector<uint8_t> padded = der;
    padded.resize(der.size() + 500, fill);
    const auto cut = WithoutPadding(padded);
    REQUIRE_THAT(StatusOf(cut), IsOk());
    CHECK(ToVector(*cut) == der);
  }
  CHECK(ToVector(*WithoutPadding(der)) == der);
  CHECK_THAT(StatusOf(WithoutPadding({})), StatusIs(kInvalid));
  CHECK_THAT(StatusOf(WithoutPadding(std::span(der).first(der.size() - 1))),
             StatusIs(kInvalid, "need"));
  // An index that was never written, an indefinite length, a long one.
  const std::vector<std::vector<uint8_t>> others = {
      std::vector<uint8_t>(100, 0xff),
      {0x30, 0x80, 0, 0},
      {0x30, 0x83, 0, 0, 1, 0},
      {0x30, 0x81, 1, 0}};
  for (const std::vector<uint8_t>& other : others) {
    CHECK_THAT(StatusOf(WithoutPadding(other)), StatusIs(kInvalid));
  }
}

TEST_CASE("PEM is one certificate, or a bundle of them") {
  const auto first = MakeCertificate({});
  const auto second = MakeCertificate(CaSpec("two", 3));
  const std::string one = ToPem(first.certificate);
  const std::string two = one + "a comment\n" + ToPem(second.certificate);
  CHECK(*Certificate::FromPem(one) == first.certificate);
  CHECK_THAT(StatusOf(Certificate::FromPem(two)),
             StatusIs(kInvalid, "2 PEM blocks"));
  const auto bundle = Certificate::BundleFromPem(two);
  REQUIRE_THAT(StatusOf(bundle), IsOk());
  CHECK(*bundle == std::vector{first.certificate, second.certificate});

  CHECK_THAT(StatusOf(Certificate::BundleFromPem("")),
             StatusIs(kInvalid, "no PEM block"));
  CHECK_THAT(StatusOf(Certificate::BundleFromPem("text\n")),
             StatusIs(kInvalid, "no PEM block"));
  // A tail that is cut off must not pass for the end.
  for (const size_t cut : {size_t{2}, size_t{30}, size_t{200}}) {
    CHECK_THAT(StatusOf(Certificate::BundleFromPem(
                   absl::string_view(two).substr(0, two.size() - cut))),
               StatusIs(kInvalid, "PEM block 2"));
  }
  const std::string key = *first.certificate.GetPublicKey()->ToPem();
  CHECK_THAT(StatusOf(Certificate::BundleFromPem(one + key)),
             StatusIs(kInvalid, "\"PUBLIC KEY\""));
  CHECK_THAT(
      StatusOf(Certificate::BundleFromPem("-----BEGIN CERTIFICATE-----\nMAA=\n"
                                          "-----END CERTIFICATE-----\n")),
      StatusIs(kInvalid, "PEM block 1"));
}

}  // namespace
}  // namespace cupel::crypto
