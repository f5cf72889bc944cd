#include "tests/support/test_pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

namespace cupel::testing {
namespace {

using crypto::Owned;

void Require(bool ok, const char* what) {
  if (ok) return;
  std::cerr << crypto::OpensslError(what) << '\n';
  std::abort();
}

Owned<EVP_PKEY> NewKey() {
  Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Require(key != nullptr, "EVP_EC_gen");
  return key;
}

void AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  Require(extension != nullptr, value);
  Require(X509_add_ext(certificate, extension, -1) == 1, value);
  X509_EXTENSION_free(extension);
}

// Without a signature.
Owned<X509> NewCertificate(const std::string& name, EVP_PKEY* key,
                           X509* issuer) {
  static std::atomic<int> serial = 1;
  Owned<X509> certificate(X509_new());
  Require(certificate != nullptr, "X509_new");
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  std::vector<unsigned char> text(name.begin(), name.end());
  Require(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                     text.data(), static_cast<int>(text.size()),
                                     -1, 0) == 1,
          "a subject");
  X509_set_issuer_name(certificate.get(), issuer == nullptr
                                              ? subject
                                              : X509_get_subject_name(issuer));
  Require(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
  return certificate;
}

template <typename Write>
std::string ToPem(Write write) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  Require(bio != nullptr && write(bio.get()) == 1, "writing PEM");
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string ToPem(X509* certificate) {
  return ToPem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::vector<uint8_t> ToDer(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  Require(size > 0, "i2d_X509");
  std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

TestCa::TestCa(const std::string& name) : key_(NewKey()) {
  certificate_ = NewCertificate(name, key_.get(), nullptr);
  AddExtension(certificate_.get(), certificate_.get(), NID_basic_constraints,
               "critical,CA:TRUE");
  AddExtension(certificate_.get(), certificate_.get(), NID_key_usage,
               "critical,keyCertSign,cRLSign");
  Require(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0,
          "X509_sign");
  pem_ = ToPem(certificate_.get());
}

TestCertificate TestCa::IssueServer(const std::string& host) const {
  const Owned<EVP_PKEY> key = NewKey();
  const Owned<X509> certificate =
      NewCertificate("server", key.get(), certificate_.get());
  AddExtension(certificate.get(), certificate_.get(), NID_subject_alt_name,
               ("DNS:" + host).c_str());
  AddExtension(certificate.get(), certificate_.get(), NID_ext_key_usage,
               "serverAuth");
  Require(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0,
          "X509_sign");
  return TestCertificate{.certificate_pem = ToPem(certificate.get()),
                         .key_pem = ToPem([&](BIO* bio) {
                           return PEM_write_bio_PrivateKey(bio, key.get(),
                                                           nullptr, nullptr, 0,
                                                           nullptr, nullptr);
                         }),
                         .sha256 = crypto::Hash(crypto::HashAlgorithm::kSha256,
                                                ToDer(certificate.get()))};
}

std::vector<uint8_t> TestCa::IssueFor(const crypto::PublicKey& key) const {
  const Owned<X509> certificate =
      NewCertificate("somebody", key.get(), certificate_.get());
  Require(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0,
          "X509_sign");
  return ToDer(certificate.get());
}

}  // namespace cupel::testing
