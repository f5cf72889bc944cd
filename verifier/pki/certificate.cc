#include "verifier/pki/certificate.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

using crypto::OpensslError;
using crypto::Owned;

template <auto kFree>
using Deleter = crypto::OpensslDeleter<kFree>;
using ExtensionOwner =
    std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using GeneralNameOwner =
    std::unique_ptr<GENERAL_NAME, Deleter<GENERAL_NAME_free>>;
using IntegerOwner = std::unique_ptr<ASN1_INTEGER, Deleter<ASN1_INTEGER_free>>;

// 4 bytes or 16; empty for what is no address.
std::vector<uint8_t> AddressBytes(absl::string_view text) {
  const std::string address(text);
  std::vector<uint8_t> bytes(16);
  if (inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(4);
  if (inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

absl::StatusOr<std::string> AddressText(std::span<const uint8_t> bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  if ((bytes.size() != 4 && bytes.size() != 16) ||
      inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr) {
    return absl::InvalidArgumentError("an address of an unknown kind");
  }
  return std::string(text.data());
}

absl::string_view TextOf(const ASN1_STRING* text) {
  return AsText({ASN1_STRING_get0_data(text),
                 static_cast<size_t>(ASN1_STRING_length(text))});
}

// Appends the name `bytes` of the type GEN_DNS, GEN_IPADD or GEN_URI.
absl::Status AddName(GENERAL_NAMES* names, int type,
                     std::span<const uint8_t> bytes) {
  GeneralNameOwner name(GENERAL_NAME_new());
  ASN1_STRING* const value = ASN1_STRING_type_new(
      type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  if (name == nullptr || value == nullptr) {
    ASN1_STRING_free(value);
    return OpensslError("a name");
  }
  GENERAL_NAME_set0_value(name.get(), type, value);  // owns it now
  if (ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) !=
          1 ||
      sk_GENERAL_NAME_push(names, name.get()) <= 0) {
    return OpensslError("a name");
  }
  name.release();
  return absl::OkStatus();
}

// `text` is a constant of this file: OpenSSL's grammar never sees input.
absl::Status AddExtension(X509* certificate, X509* issuer, int nid,
                          const char* text) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionOwner extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, text));
  if (extension == nullptr ||
      X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(text);
  }
  return absl::OkStatus();
}

absl::Status AddNames(X509* certificate, const LeafNames& names) {
  const GeneralNamesOwner list(GENERAL_NAMES_new());
  if (list == nullptr) return OpensslError("the alternative names");
  for (const std::string& name : names.dns_names) {
    CUPEL_RETURN_IF_ERROR(ValidateDnsName(name));
    CUPEL_RETURN_IF_ERROR(AddName(list.get(), GEN_DNS, AsBytes(name)));
  }
  for (const std::string& address : names.addresses) {
    CUPEL_RETURN_IF_ERROR(ValidateAddress(address));
    CUPEL_RETURN_IF_ERROR(
        AddName(list.get(), GEN_IPADD, AddressBytes(address)));
  }
  if (!names.uri.empty()) {
    CUPEL_RETURN_IF_ERROR(AddName(list.get(), GEN_URI, AsBytes(names.uri)));
  }
  if (sk_GENERAL_NAME_num(list.get()) == 0) {
    return absl::InvalidArgumentError(
        "no DNS name, address or URI to make the certificate out to");
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), 0,
                        X509V3_ADD_DEFAULT) != 1) {
    return OpensslError("the alternative names");
  }
  return absl::OkStatus();
}

absl::Status SetSerial(X509* certificate) {
  std::array<uint8_t, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return OpensslError("a serial number");
  }
  // Positive and of full length, so that DER has the same 16 bytes.
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0x7f) | 0x40);
  const Owned<BIGNUM> number(
      BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  const IntegerOwner serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  if (serial == nullptr ||
      X509_set_serialNumber(certificate, serial.get()) != 1) {
    return OpensslError("a serial number");
  }
  return absl::OkStatus();
}

// A new key and a certificate of it that lacks issuer, extensions and
// signature.
absl::StatusOr<KeyPair> Begin(const std::string& common_name,
                              const Validity& validity) {
  KeyPair pair{.certificate = Owned<X509>(X509_new()),
               .key = Owned<EVP_PKEY>(
                   EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"))};
  X509* const certificate = pair.certificate.get();
  if (certificate == nullptr || pair.key == nullptr) {
    return OpensslError("a new key");
  }
  CUPEL_RETURN_IF_ERROR(SetSerial(certificate));
  const std::vector<uint8_t> name = ToVector(AsBytes(common_name));
  if (X509_set_version(certificate, X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate, pair.key.get()) != 1 ||
      X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate),
                                 NID_commonName, MBSTRING_UTF8, name.data(),
                                 static_cast<int>(name.size()), -1, 0) != 1 ||
      ASN1_TIME_set(X509_getm_notBefore(certificate),
                    absl::ToTimeT(validity.not_before)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate),
                    absl::ToTimeT(validity.not_after)) == nullptr) {
    return OpensslError("a certificate");
  }
  return pair;
}

absl::Status Sign(X509* certificate, X509* issuer, EVP_PKEY* key) {
  if (X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1) {
    return OpensslError("a certificate's issuer");
  }
  CUPEL_RETURN_IF_ERROR(
      AddExtension(certificate, issuer, NID_subject_key_identifier, "hash"));
  CUPEL_RETURN_IF_ERROR(AddExtension(
      certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  if (X509_sign(certificate, key, EVP_sha256()) <= 0) {
    return OpensslError("a certificate's signature");
  }
  return absl::OkStatus();
}

const char* ExtendedUsage(CertificateUse use) {
  return use == CertificateUse::kServer ? "serverAuth" : "clientAuth";
}

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time) {
  std::tm parts = {};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    return absl::InvalidArgumentError("a certificate with a malformed date");
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

absl::StatusOr<std::string> BioText(BIO* bio) {
  char* data = nullptr;
  const int64_t size = BIO_get_mem_data(bio, &data);
  if (size <= 0) return OpensslError("PEM");
  return std::string(data, static_cast<size_t>(size));
}

std::string Sha256Hex(std::span<const uint8_t> bytes) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, bytes).Hex();
}

// Never asks a terminal for a passphrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

Owned<BIO> ReadOnly(absl::string_view text) {
  return Owned<BIO>(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

absl::Status ValidateDnsName(absl::string_view name) {
  const auto is_label = [](absl::string_view label) {
    return !label.empty() && label.size() <= 63 && label.front() != '-' &&
           label.back() != '-' && std::ranges::all_of(label, [](char c) {
             return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                    c == '-';
           });
  };
  const std::vector<absl::string_view> labels = absl::StrSplit(name, '.');
  if (name.size() > 253 || !std::ranges::all_of(labels, is_label) ||
      !AddressBytes(name).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name, 80), " is no DNS name"));
  }
  return absl::OkStatus();
}

absl::Status ValidateAddress(absl::string_view address) {
  if (AddressBytes(address).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(address, 80), " is no IPv4 or IPv6 address"));
  }
  return absl::OkStatus();
}

absl::StatusOr<KeyPair> MakeCa(const std::string& common_name,
                               CertificateUse use, const Validity& validity) {
  CUPEL_ASSIGN_OR_RETURN(KeyPair ca, Begin(common_name, validity));
  X509* const certificate = ca.certificate.get();
  CUPEL_RETURN_IF_ERROR(AddExtension(certificate, certificate,
                                     NID_basic_constraints,
                                     "critical,CA:TRUE,pathlen:0"));
  CUPEL_RETURN_IF_ERROR(AddExtension(certificate, certificate, NID_key_usage,
                                     "critical,keyCertSign,cRLSign"));
  CUPEL_RETURN_IF_ERROR(AddExtension(certificate, certificate,
                                     NID_ext_key_usage, ExtendedUsage(use)));
  CUPEL_RETURN_IF_ERROR(Sign(certificate, certificate, ca.key.get()));
  return ca;
}

absl::StatusOr<KeyPair> MakeLeaf(const KeyPair& ca, CertificateUse use,
                                 const LeafNames& names,
                                 const Validity& validity) {
  CUPEL_ASSIGN_OR_RETURN(const absl::Time last, NotAfter(*ca.certificate));
  if (last <= validity.not_before) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CA has expired: ", absl::FormatTime(last),
                     "; move its folder away and run init"));
  }
  CUPEL_ASSIGN_OR_RETURN(
      KeyPair leaf,
      Begin(names.common_name,
            {validity.not_before, std::min(validity.not_after, last)}));
  X509* const certificate = leaf.certificate.get();
  X509* const issuer = ca.certificate.get();
  CUPEL_RETURN_IF_ERROR(AddNames(certificate, names));
  CUPEL_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_basic_constraints,
                                     "critical,CA:FALSE"));
  CUPEL_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_key_usage,
                                     "critical,digitalSignature"));
  CUPEL_RETURN_IF_ERROR(
      AddExtension(certificate, issuer, NID_ext_key_usage, ExtendedUsage(use)));
  CUPEL_RETURN_IF_ERROR(Sign(certificate, issuer, ca.key.get()));
  return leaf;
}

absl::StatusOr<GeneralNamesOwner> AlternativeNames(const X509& certificate) {
  int critical = 0;
  GeneralNamesOwner names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
      &certificate, NID_subject_alt_name, &critical, nullptr)));
  // -1: there is none. Other values without names: twice, or malformed.
  if (names == nullptr && critical != -1) {
    return absl::InvalidArgumentError(
        "the certificate's alternative names are malformed or stand twice");
  }
  return names;
}

absl::StatusOr<LeafNames> ReadNames(const X509& certificate) {
  LeafNames result;
  const X509_NAME* const subject = X509_get_subject_name(&certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index >= 0) {
    result.common_name = std::string(
        TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index))));
  }
  CUPEL_ASSIGN_OR_RETURN(const GeneralNamesOwner names,
                         AlternativeNames(certificate));
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    int type = 0;
    const auto* const value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(name, &type));
    if (type == GEN_DNS) {
      result.dns_names.emplace_back(TextOf(value));
    } else if (type == GEN_IPADD) {
      CUPEL_ASSIGN_OR_RETURN(std::string address,
                             AddressText(AsBytes(TextOf(value))));
      result.addresses.push_back(std::move(address));
    } else if (type == GEN_URI && result.uri.empty()) {
      result.uri = std::string(TextOf(value));
    } else {
      return absl::InvalidArgumentError(
          "the certificate has names that init doesn't give");
    }
  }
  return result;
}

absl::StatusOr<absl::Time> NotBefore(const X509& certificate) {
  return ToTime(X509_get0_notBefore(&certificate));
}
absl::StatusOr<absl::Time> NotAfter(const X509& certificate) {
  return ToTime(X509_get0_notAfter(&certificate));
}

absl::StatusOr<std::string> CertificateToPem(const X509& certificate) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), &certificate) != 1) {
    return OpensslError("PEM");
  }
  return BioText(bio.get());
}

absl::StatusOr<Secret> KeyToPem(const EVP_PKEY& key) {
  const Owned<BIO> bio(BIO_new(BIO_s_secmem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), &key, nullptr, nullptr, 0,
                                    nullptr, nullptr) != 1) {
    return OpensslError("a key's PEM");
  }
  char* data = nullptr;
  const int64_t size = BIO_get_mem_data(bio.get(), &data);
  if (size <= 0) return OpensslError("a key's PEM");
  return Secret(AsBytes({data, static_cast<size_t>(size)}));
}

absl::StatusOr<Owned<X509>> CertificateFromPem(absl::string_view pem) {
  const Owned<BIO> bio = ReadOnly(pem);
  Owned<X509> certificate(
      PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(OpensslError("no certificate").message());
  }
  return certificate;
}

absl::StatusOr<Owned<EVP_PKEY>> KeyFromPem(absl::string_view pem) {
  const Owned<BIO> bio = ReadOnly(pem);
  Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        OpensslError("no private key without a passphrase").message());
  }
  return key;
}

absl::StatusOr<std::string> SpkiSha256(const X509& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
  if (size <= 0) return OpensslError("a certificate's key");
  std::string hex = Sha256Hex({der, static_cast<size_t>(size)});
  OPENSSL_free(der);
  return hex;
}

}  // namespace cupel::verifier
