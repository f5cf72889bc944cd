#include "common/crypto/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::crypto {
namespace {

constexpr int kMaxRsaBits = 4096;
constexpr uint8_t kSequenceTag = 0x30;

absl::Status MalformedCertificate(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("certificate: ", what));
}

// As MalformedCertificate, with OpenSSL's reason.
absl::Status UnusableCertificate(absl::string_view what) {
  return MalformedCertificate(OpensslError(what).message());
}

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time,
                                  absl::string_view field) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    return UnusableCertificate(absl::StrCat(field, " is no time"));
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string NameText(const X509_NAME* name) {
  const Owned<BIO> output(BIO_new(BIO_s_mem()));
  if (!output ||
      X509_NAME_print_ex(output.get(), name, 0, XN_FLAG_RFC2253) < 0) {
    static_cast<void>(OpensslError("X509_NAME_print_ex"));
    return "(unreadable name)";
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(output.get(), &text);
  return EscapeForDisplay(
      absl::string_view(text, static_cast<size_t>(std::max(size, 0L))));
}

// The blocks of a PEM file, all of them certificates.
absl::StatusOr<std::vector<std::vector<uint8_t>>> PemBlocks(
    absl::string_view pem) {
  if (pem.size() > kMaxBundleCount * kMaxCertificateSize * 2) {
    return absl::ResourceExhaustedError(
        absl::StrCat("PEM file of ", pem.size(), " bytes"));
  }
  const Owned<BIO> input(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!input) return OpensslError("BIO_new_mem_buf");
  std::vector<std::vector<uint8_t>> blocks;
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  while (PEM_read_bio(input.get(), &name, &header, &data, &size) == 1) {
    const std::string label(name);
    const bool is_plain = *header == '\0';
    std::vector<uint8_t> der(data, data + size);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_cleanse(data, static_cast<size_t>(size));
    OPENSSL_free(data);
    if (label != PEM_STRING_X509 || !is_plain) {
      // What stands in it may be a private key.
      OPENSSL_cleanse(der.data(), der.size());
      return absl::InvalidArgumentError(
          absl::StrCat("PEM block ", blocks.size() + 1, " is ",
                       Quoted(label, 64), "; expected \"CERTIFICATE\""));
    }
    if (blocks.size() == kMaxBundleCount) {
      return absl::ResourceExhaustedError(
          absl::StrCat("more than ", kMaxBundleCount, " certificates"));
    }
    blocks.push_back(std::move(der));
  }
  // The end of the file shows as "no start line"; anything else is a block that
  // is cut or damaged.
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM ||
      ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return absl::InvalidArgumentError(
        OpensslError(absl::StrCat("PEM block ", blocks.size() + 1)).message());
  }
  ERR_clear_error();
  if (blocks.empty()) {
    return absl::InvalidArgumentError("no PEM block \"CERTIFICATE\"");
  }
  return blocks;
}

// An extension, nullptr where there is none. `kFree` belongs to T.
template <typename T, auto kFree>
absl::StatusOr<std::unique_ptr<T, OpensslDeleter<kFree>>> ReadExtension(
    const X509* x509, int nid, absl::string_view what) {
  int critical = 0;
  std::unique_ptr<T, OpensslDeleter<kFree>> extension(
      static_cast<T*>(X509_get_ext_d2i(x509, nid, &critical, nullptr)));
  // -1: there is none.
  if (!extension && critical != -1) {
    return UnusableCertificate(
        absl::StrCat(what, " is malformed or stands twice"));
  }
  return extension;
}

}  // namespace

absl::StatusOr<Certificate> Certificate::FromDer(std::span<const uint8_t> der) {
  if (der.size() > kMaxCertificateSize) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "certificate: ", der.size(), " bytes, limit ", kMaxCertificateSize));
  }
  const unsigned char* next = der.data();
  Owned<X509> x509(d2i_X509(nullptr, &next, static_cast<long>(der.size())));
  if (!x509) return UnusableCertificate("not X.509 in DER");
  if (next != der.data() + der.size()) {
    return MalformedCertificate("bytes left over after it");
  }
  // Has OpenSSL read the extensions that it knows.
  if ((X509_get_extension_flags(x509.get()) & EXFLAG_INVALID) != 0) {
    return UnusableCertificate("an extension is malformed or stands twice");
  }
  Certificate certificate;
  CUPEL_ASSIGN_OR_RETURN(certificate.not_before_,
                         ToTime(X509_get0_notBefore(x509.get()), "notBefore"));
  CUPEL_ASSIGN_OR_RETURN(certificate.not_after_,
                         ToTime(X509_get0_notAfter(x509.get()), "notAfter"));
  certificate.der_ =
      std::make_shared<const std::vector<uint8_t>>(der.begin(), der.end());
  certificate.fingerprint_ = Hash(HashAlgorithm::kSha256, der);
  certificate.x509_ = std::move(x509);
  return certificate;
}

absl::StatusOr<Certificate> Certificate::FromPem(absl::string_view pem) {
  CUPEL_ASSIGN_OR_RETURN(const auto blocks, PemBlocks(pem));
  if (blocks.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(blocks.size(), " PEM blocks; expected one certificate"));
  }
  return FromDer(blocks.front());
}

absl::StatusOr<std::vector<Certificate>> Certificate::BundleFromPem(
    absl::string_view pem) {
  CUPEL_ASSIGN_OR_RETURN(const auto blocks, PemBlocks(pem));
  std::vector<Certificate> certificates;
  for (const std::vector<uint8_t>& block : blocks) {
    absl::StatusOr<Certificate> certificate = FromDer(block);
    if (!certificate.ok()) {
      return WithContext(certificate.status(),
                         absl::StrCat("PEM block ", certificates.size() + 1));
    }
    certificates.push_back(*std::move(certificate));
  }
  return certificates;
}

std::string Certificate::Subject() const {
  return NameText(X509_get_subject_name(x509_.get()));
}

std::string Certificate::Issuer() const {
  return NameText(X509_get_issuer_name(x509_.get()));
}

bool Certificate::HasEmptySubject() const {
  return X509_NAME_entry_count(X509_get_subject_name(x509_.get())) == 0;
}

bool Certificate::IsCa() const {
  // Above 1 are guesses about certificates without basicConstraints.
  return X509_check_ca(x509_.get()) == 1;
}

absl::StatusOr<PublicKey> Certificate::GetPublicKey() const {
  EVP_PKEY* const key = X509_get0_pubkey(x509_.get());
  if (key == nullptr) return UnusableCertificate("no key of a known kind");
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
      EVP_PKEY_get_bits(key) > kMaxRsaBits) {
    return MalformedCertificate(absl::StrCat(
        "RSA key of ", EVP_PKEY_get_bits(key), " bits, limit ", kMaxRsaBits));
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return UnusableCertificate("its key");
  const std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  return PublicKey::FromDer(bytes);
}

absl::StatusOr<std::vector<std::string>> Certificate::ExtendedKeyUsages()
    const {
  CUPEL_ASSIGN_OR_RETURN(
      const auto usages,
      (ReadExtension<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free>(
          x509_.get(), NID_ext_key_usage, "extendedKeyUsage")));
  std::vector<std::string> oids;
  if (!usages) return oids;
  for (int i = 0; i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    char text[128];
    const int size =
        OBJ_obj2txt(text, sizeof(text), sk_ASN1_OBJECT_value(usages.get(), i),
                    /*no_name=*/1);
    if (size <= 0 || static_cast<size_t>(size) >= sizeof(text)) {
      return MalformedCertificate(
          "extendedKeyUsage: an unreadable object identifier");
    }
    oids.emplace_back(text, static_cast<size_t>(size));
  }
  return oids;
}

absl::StatusOr<std::span<const uint8_t>> WithoutPadding(
    std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const uint8_t tag, reader.ReadU8("certificate: tag"));
  if (tag != kSequenceTag)
    return MalformedCertificate("does not start with a SEQUENCE");
  CUPEL_ASSIGN_OR_RETURN(const uint8_t first,
                         reader.ReadU8("certificate: length"));
  size_t size = first;
  if (first >= 0x80) {
    // A certificate's length has two bytes; one under 128 bytes is none.
    if (first != 0x82)
      return MalformedCertificate("its length is not of two bytes");
    CUPEL_ASSIGN_OR_RETURN(size, reader.ReadU16("certificate: length"));
  }
  CUPEL_RETURN_IF_ERROR(reader.ReadBytes(size, "certificate").status());
  return bytes.first(bytes.size() - reader.remaining());
}

}  // namespace cupel::crypto
