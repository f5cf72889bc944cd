#include "tests/support/certificate_builder.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using crypto::Owned;

void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "certificate builder: %s: %s\n", what,
               crypto::OpensslError(what).ToString().c_str());
  std::abort();
}

void SetName(X509_NAME* name, const NameAttributes& attributes) {
  for (const auto& [type, value] : attributes) {
    Require(X509_NAME_add_entry_by_txt(
                name, type.c_str(), MBSTRING_UTF8,
                reinterpret_cast<const uint8_t*>(value.data()),
                static_cast<int>(value.size()), -1, 0) == 1,
            "name");
  }
}

void AddExtension(X509* x509, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
  X509_EXTENSION* const extension =
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Require(extension != nullptr && X509_add_ext(x509, extension, -1) == 1,
          value.c_str());
  X509_EXTENSION_free(extension);
}

void AddAlternativeName(X509* x509, const CertificateSpec& spec) {
  GENERAL_NAMES* const names = sk_GENERAL_NAME_new_null();
  if (!spec.san_directory.empty()) {
    X509_NAME* const directory = X509_NAME_new();
    SetName(directory, spec.san_directory);
    GENERAL_NAME* const name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_DIRNAME, directory);
    sk_GENERAL_NAME_push(names, name);
  }
  for (const std::string& uri : spec.san_uris) {
    ASN1_IA5STRING* const text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, uri.data(), static_cast<int>(uri.size()));
    GENERAL_NAME* const name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    sk_GENERAL_NAME_push(names, name);
  }
  if (sk_GENERAL_NAME_num(names) > 0) {
    Require(X509_add1_ext_i2d(x509, NID_subject_alt_name, names,
                              spec.is_san_critical ? 1 : 0, 0) == 1,
            "subjectAltName");
  }
  GENERAL_NAMES_free(names);
}

void AddUnknownCritical(X509* x509) {
  ASN1_OBJECT* const oid = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
  ASN1_OCTET_STRING* const value = ASN1_OCTET_STRING_new();
  const uint8_t null_value[] = {5, 0};
  ASN1_OCTET_STRING_set(value, null_value, 2);
  X509_EXTENSION* const extension =
      X509_EXTENSION_create_by_OBJ(nullptr, oid, 1, value);
  Require(X509_add_ext(x509, extension, -1) == 1, "unknown extension");
  X509_EXTENSION_free(extension);
  ASN1_OCTET_STRING_free(value);
  ASN1_OBJECT_free(oid);
}

void SetTime(ASN1_TIME* field, absl::Time time) {
  Require(ASN1_TIME_set(field, absl::ToTimeT(time)) != nullptr, "time");
}

}  // namespace

absl::Time TestTime() {
  return absl::FromCivil(absl::CivilSecond(2026, 5, 1), absl::UTCTimeZone());
}

TestCertificate MakeCertificate(const CertificateSpec& spec,
                                const TestCertificate* issuer) {
  static long serial = 0;
  std::shared_ptr<EVP_PKEY> key = FakeKeyPair(spec.key_kind, spec.key_index);
  const Owned<X509> x509(X509_new());
  X509* const x = x509.get();
  Require(X509_set_version(x, X509_VERSION_3) == 1, "version");
  ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
  SetTime(X509_getm_notBefore(x), spec.not_before);
  SetTime(X509_getm_notAfter(x), spec.not_after);
  SetName(X509_get_subject_name(x), spec.subject);
  Require(X509_set_issuer_name(
              x, issuer == nullptr
                     ? X509_get_subject_name(x)
                     : X509_get_subject_name(issuer->certificate.get())) == 1,
          "issuer");
  Require(X509_set_pubkey(x, key.get()) == 1, "key");
  if (spec.is_ca.has_value()) {
    std::string value = "critical,CA:";
    value += *spec.is_ca ? "TRUE" : "FALSE";
    if (spec.path_length.has_value()) {
      value += ",pathlen:" + std::to_string(*spec.path_length);
    }
    AddExtension(x, NID_basic_constraints, value);
  }
  if (!spec.key_usage.empty()) {
    AddExtension(x, NID_key_usage, "critical," + spec.key_usage);
  }
  if (!spec.ekus.empty()) {
    std::string value;
    for (const std::string& eku : spec.ekus) {
      value += (value.empty() ? "" : ",") + eku;
    }
    AddExtension(x, NID_ext_key_usage, value);
  }
  AddAlternativeName(x, spec);
  if (spec.has_unknown_critical) AddUnknownCritical(x);
  EVP_PKEY* const signer = issuer == nullptr ? key.get() : issuer->key.get();
  Require(X509_sign(x, signer, spec.hash) > 0, "signature");
  unsigned char* der = nullptr;
  const int size = i2d_X509(x, &der);
  Require(size > 0, "DER");
  const std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  auto certificate = crypto::Certificate::FromDer(bytes);
  Require(certificate.ok(), "parsing it");
  return {*std::move(certificate), std::move(key)};
}

CertificateSpec CaSpec(const std::string& name, int key_index) {
  CertificateSpec spec;
  spec.subject = {{"O", "Test TPM Vendor"}, {"CN", name}};
  spec.key_index = key_index;
  spec.is_ca = true;
  spec.key_usage = "keyCertSign,cRLSign";
  return spec;
}

CertificateSpec EkSpec(FakeKeyKind kind, int key_index) {
  CertificateSpec spec;
  spec.subject = {};
  spec.key_kind = kind;
  spec.key_index = key_index;
  spec.key_usage =
      kind == FakeKeyKind::kRsa2048 ? "keyEncipherment" : "keyAgreement";
  spec.ekus = {"2.23.133.8.1"};
  spec.san_directory = {{"2.23.133.2.1", "id:00001014"},
                        {"2.23.133.2.2", "model"},
                        {"2.23.133.2.3", "id:00010002"}};
  spec.is_san_critical = true;
  return spec;
}

std::string ToPem(const crypto::Certificate& certificate) {
  const Owned<BIO> output(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_X509(output.get(), certificate.get()) == 1, "PEM");
  char* text = nullptr;
  const long size = BIO_get_mem_data(output.get(), &text);
  return {text, static_cast<size_t>(size)};
}

}  // namespace cupel::testing
