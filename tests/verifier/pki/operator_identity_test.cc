#include "verifier/pki/operator_identity.h"

#include <openssl/x509v3.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "verifier/pki/certificate.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

constexpr char kUri[] = "cupel://tenant/acme/role/admin";
const absl::Time kTimeOfCertificate = absl::FromUnixSeconds(1'800'000'000);
const Validity kOperatorValidity = {kTimeOfCertificate - absl::Hours(1),
                                    kTimeOfCertificate + absl::Hours(1)};

std::vector<uint8_t> ToDer(const X509& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(&certificate, &der);
  REQUIRE(size > 0);
  std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

void RemoveExtension(X509* certificate, int nid) {
  const int index = X509_get_ext_by_NID(certificate, nid, -1);
  REQUIRE(index >= 0);
  X509_EXTENSION_free(X509_delete_ext(certificate, index));
}

void AddExtension(X509* certificate, int nid, const std::string& text) {
  X509_EXTENSION* const extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, nid, text.c_str());
  REQUIRE(extension != nullptr);
  REQUIRE(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Puts a URI of any bytes in the place of the names.
void SetUri(X509* certificate, const std::string& uri) {
  RemoveExtension(certificate, NID_subject_alt_name);
  const GeneralNamesOwner names(GENERAL_NAMES_new());
  GENERAL_NAME* const name = GENERAL_NAME_new();
  ASN1_STRING* const value = ASN1_STRING_type_new(V_ASN1_IA5STRING);
  REQUIRE(ASN1_STRING_set(value, uri.data(), static_cast<int>(uri.size())) ==
          1);
  GENERAL_NAME_set0_value(name, GEN_URI, value);
  REQUIRE(sk_GENERAL_NAME_push(names.get(), name) > 0);
  REQUIRE(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0,
                            X509V3_ADD_DEFAULT) == 1);
}

// A valid operator's certificate, after `edit`, signed anew by the CA.
std::vector<uint8_t> OperatorDer(const std::function<void(X509*)>& edit =
                                     [](X509*) {}) {
  const auto ca = MakeCa("a CA", CertificateUse::kClient, kOperatorValidity);
  REQUIRE_THAT(StatusOf(ca), IsOk());
  const auto leaf = MakeLeaf(
      *ca, CertificateUse::kClient,
      {.common_name = "Ann", .dns_names = {}, .addresses = {}, .uri = kUri},
      kOperatorValidity);
  REQUIRE_THAT(StatusOf(leaf), IsOk());
  edit(leaf->certificate.get());
  REQUIRE(X509_sign(leaf->certificate.get(), ca->key.get(), EVP_sha256()) > 0);
  return ToDer(*leaf->certificate);
}

absl::Status IdentityWithUri(const std::string& uri) {
  return StatusOf(OperatorIdentityFromDer(
      OperatorDer([&](X509* certificate) { SetUri(certificate, uri); })));
}

absl::Status IdentityWithNames(const std::string& names) {
  return StatusOf(OperatorIdentityFromDer(OperatorDer([&](X509* certificate) {
    RemoveExtension(certificate, NID_subject_alt_name);
    AddExtension(certificate, NID_subject_alt_name, names);
  })));
}

absl::Status IdentityWithUsage(const std::string& usage) {
  return StatusOf(OperatorIdentityFromDer(OperatorDer([&](X509* certificate) {
    RemoveExtension(certificate, NID_ext_key_usage);
    if (!usage.empty()) AddExtension(certificate, NID_ext_key_usage, usage);
  })));
}

TEST_CASE("An operator's certificate says tenant, role, key and end") {
  const std::vector<uint8_t> der = OperatorDer();
  const auto identity = OperatorIdentityFromDer(der);
  REQUIRE_THAT(StatusOf(identity), IsOk());
  CHECK(identity->tenant == "acme");
  CHECK(identity->role == OperatorRole::kAdmin);
  CHECK(identity->common_name == "Ann");
  CHECK(identity->spki_sha256.size() == 64);
  CHECK(identity->not_before == kOperatorValidity.not_before);
  CHECK(identity->not_after == kOperatorValidity.not_after);

  CHECK_THAT(IdentityWithUri(kUri), IsOk());
  const auto viewer =
      OperatorIdentityFromDer(OperatorDer([](X509* certificate) {
        SetUri(certificate, "cupel://tenant/a.b-c_9/role/viewer");
      }));
  REQUIRE_THAT(StatusOf(viewer), IsOk());
  CHECK(viewer->tenant == "a.b-c_9");
  CHECK(viewer->role == OperatorRole::kViewer);
}

TEST_CASE("PEM is as good as DER, if it is one block") {
  const std::vector<uint8_t> der = OperatorDer();
  const uint8_t* position = der.data();
  const crypto::Owned<X509> certificate(
      d2i_X509(nullptr, &position, static_cast<long>(der.size())));
  const std::string pem = *CertificateToPem(*certificate);
  const auto identity = OperatorIdentityFromPem(pem);
  REQUIRE_THAT(StatusOf(identity), IsOk());
  CHECK(identity->spki_sha256 == OperatorIdentityFromDer(der)->spki_sha256);
  for (const std::string& bad :
       {std::string(), pem + pem, "x" + pem, pem + "x", pem.substr(0, 300),
        std::string("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
        std::string("-----BEGIN CERTIFICATE-----END CERTIFICATE-----")}) {
    CAPTURE(bad);
    CHECK_THAT(StatusOf(OperatorIdentityFromPem(bad)),
               StatusIs(StatusCode::kInvalidArgument));
  }
}

TEST_CASE("Every prefix of a certificate and every byte after it is refused") {
  std::vector<uint8_t> der = OperatorDer();
  for (size_t size = 0; size < der.size(); ++size) {
    CHECK_FALSE(OperatorIdentityFromDer(std::span(der).first(size)).ok());
  }
  der.push_back(0);
  CHECK_THAT(StatusOf(OperatorIdentityFromDer(der)),
             StatusIs(StatusCode::kInvalidArgument));
}

TEST_CASE("A certificate without the URI, or with two, is nobody's [A41]") {
  CHECK_THAT(IdentityWithNames(absl::StrCat("URI:", kUri)), IsOk());
  CHECK_THAT(
      StatusOf(OperatorIdentityFromDer(OperatorDer([](X509* certificate) {
        RemoveExtension(certificate, NID_subject_alt_name);
      }))),
      StatusIs(StatusCode::kPermissionDenied, "it has 0 URIs"));
  CHECK_THAT(IdentityWithNames("DNS:acme"),
             StatusIs(StatusCode::kPermissionDenied, "it has 0 URIs"));
  CHECK_THAT(IdentityWithNames(absl::StrCat("DNS:", "acme", ",email:a@b")),
             StatusIs(StatusCode::kPermissionDenied, "it has 0 URIs"));
  CHECK_THAT(IdentityWithNames(absl::StrCat(
                 "URI:", kUri, ",URI:cupel://tenant/other/role/admin")),
             StatusIs(StatusCode::kPermissionDenied, "it has 2 URIs"));
  CHECK_THAT(IdentityWithNames(absl::StrCat("URI:", kUri, ",URI:", kUri)),
             StatusIs(StatusCode::kPermissionDenied, "it has 2 URIs"));
  CHECK_THAT(
      IdentityWithNames(absl::StrCat("URI:https://a.example,URI:", kUri)),
      StatusIs(StatusCode::kPermissionDenied, "it has 2 URIs"));
}

TEST_CASE("The alternative names stand once and are well-formed [A41]") {
  CHECK_THAT(
      StatusOf(OperatorIdentityFromDer(OperatorDer([](X509* certificate) {
        AddExtension(certificate, NID_subject_alt_name,
                     absl::StrCat("URI:", kUri));
      }))),
      StatusIs(StatusCode::kPermissionDenied));
  CHECK_THAT(
      StatusOf(OperatorIdentityFromDer(OperatorDer([](X509* certificate) {
        RemoveExtension(certificate, NID_subject_alt_name);
        AddExtension(certificate, NID_subject_alt_name, "DER:30:05:01");
      }))),
      StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("The URI is taken byte by byte [A19, A41]") {
  for (const std::string& uri : std::vector<std::string>{
           "",
           "cupel://tenant/acme/role/",
           "cupel://tenant/acme/role/root",
           "cupel://tenant/acme/role/Admin",
           "cupel://tenant/acme/role/admin/",
           "cupel://tenant/acme/role/admin?x=1",
           "cupel://tenant/acme/role/admin#x",
           "cupel://tenant/acme/role/admin ",
           " cupel://tenant/acme/role/admin",
           "cupel://tenant//role/admin",
           "cupel://tenant/Acme/role/admin",
           "cupel://tenant/ac%6de/role/admin",
           "cupel://tenant/../role/admin",
           "cupel://tenant/-acme/role/admin",
           "cupel://tenant/a b/role/admin",
           "cupel://tenant/a/b/role/admin",
           "cupel://tenant/acme/role/viewer/role/admin",
           "cupel://tenant/\xc3\xa4/role/admin",
           absl::StrCat("cupel://tenant/", std::string(64, 'a'), "/role/admin"),
           "cupel://agent/acme/role/admin",
           "CUPEL://tenant/acme/role/admin",
           "https://tenant/acme/role/admin",
           "cupel:/tenant/acme/role/admin",
           "tenant/acme/role/admin",
           std::string("cupel://tenant/acme/role/admin\0", 31),
           std::string("cupel://tenant/acme\0x/role/admin", 32),
       }) {
    CAPTURE(uri);
    CHECK_THAT(IdentityWithUri(uri),
               StatusIs(StatusCode::kPermissionDenied, "its URI is"));
  }
  CHECK_THAT(IdentityWithUri("cupel://tenant/\x1b[2J/role/admin"),
             StatusIs(StatusCode::kPermissionDenied, "\\x1b[2J"));
}

TEST_CASE("A server's or a CA's certificate is no operator's [A41]") {
  CHECK_THAT(IdentityWithUsage("clientAuth"), IsOk());
  CHECK_THAT(IdentityWithUsage("clientAuth,emailProtection"), IsOk());
  CHECK_THAT(IdentityWithUsage("serverAuth"),
             StatusIs(StatusCode::kPermissionDenied, "clientAuth"));
  CHECK_THAT(IdentityWithUsage("serverAuth,clientAuth"),
             StatusIs(StatusCode::kPermissionDenied, "server's"));
  CHECK_THAT(IdentityWithUsage("anyExtendedKeyUsage"),
             StatusIs(StatusCode::kPermissionDenied, "clientAuth"));
  CHECK_THAT(IdentityWithUsage(""),
             StatusIs(StatusCode::kPermissionDenied, "clientAuth"));
  CHECK_THAT(
      StatusOf(OperatorIdentityFromDer(OperatorDer([](X509* certificate) {
        RemoveExtension(certificate, NID_basic_constraints);
        AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE");
      }))),
      StatusIs(StatusCode::kPermissionDenied, "CA's"));
}

TEST_CASE("Roles have one form") {
  CHECK(*ParseOperatorRole("admin") == OperatorRole::kAdmin);
  CHECK(*ParseOperatorRole("viewer") == OperatorRole::kViewer);
  CHECK_FALSE(ParseOperatorRole("").ok());
  CHECK_FALSE(ParseOperatorRole("ADMIN").ok());
}

}  // namespace
}  // namespace cupel::verifier
