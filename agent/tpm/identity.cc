#include "agent/tpm/identity.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

constexpr char kMagic[] = "CUPELAK";
constexpr uint8_t kVersion = 1;
constexpr size_t kMaxFileSize = size_t{1} << 16;
constexpr size_t kMaxFieldSize = 4096;
constexpr size_t kChecksumSize = 32;

void AppendField(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  AppendBe(out, static_cast<uint16_t>(bytes.size()));
  Append(out, bytes);
}

std::vector<uint8_t> SerializeAk(const AkBlobs& ak) {
  std::vector<uint8_t> out = ToVector(AsBytes(kMagic));
  out.push_back(kVersion);
  AppendField(out, AsBytes(tpm::EkTemplateName(ak.ek_template)));
  AppendField(out, ak.ek_name);
  AppendField(out, ak.public_blob);
  AppendField(out, ak.private_blob);
  const crypto::Digest checksum =
      crypto::Hash(crypto::HashAlgorithm::kSha256, out);
  Append(out, checksum.bytes());
  return out;
}

absl::StatusOr<AkBlobs> ParseAk(std::span<const uint8_t> bytes) {
  if (bytes.size() < kChecksumSize) {
    return absl::InvalidArgumentError("the file is cut");
  }
  const auto content = bytes.first(bytes.size() - kChecksumSize);
  const crypto::Digest checksum =
      crypto::Hash(crypto::HashAlgorithm::kSha256, content);
  if (!std::ranges::equal(checksum.bytes(), bytes.last(kChecksumSize))) {
    return absl::InvalidArgumentError("the checksum is wrong");
  }
  ByteReader reader(content, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const auto magic,
                         reader.ReadBytes(sizeof(kMagic) - 1, "magic"));
  if (AsText(magic) != kMagic) {
    return absl::InvalidArgumentError("it is no AK's file");
  }
  CUPEL_ASSIGN_OR_RETURN(const uint8_t version, reader.ReadU8("version"));
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("version ", version, ", this program knows ", kVersion));
  }
  AkBlobs ak;
  CUPEL_ASSIGN_OR_RETURN(const auto ek_template,
                         reader.ReadSized16(kMaxFieldSize, "EK template"));
  CUPEL_ASSIGN_OR_RETURN(ak.ek_template,
                         tpm::EkTemplateFromName(AsText(ek_template)));
  const auto read = [&](const char* name, std::vector<uint8_t>& field) {
    const auto value = reader.ReadSized16(kMaxFieldSize, name);
    if (value.ok()) field = ToVector(*value);
    return value.status();
  };
  CUPEL_RETURN_IF_ERROR(read("EK's Name", ak.ek_name));
  CUPEL_RETURN_IF_ERROR(read("public part", ak.public_blob));
  CUPEL_RETURN_IF_ERROR(read("private part", ak.private_blob));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("AK's file"));
  return ak;
}

std::string Cure(const std::string& path) {
  return absl::StrCat("move ", EscapeForDisplay(path),
                      " away to have a new AK made, with which the machine "
                      "enrols again");
}

absl::Status AddCure(const absl::Status& status, const std::string& path) {
  return absl::Status(status.code(),
                      absl::StrCat(EscapeForDisplay(path), ": ",
                                   status.message(), "; ", Cure(path)));
}

AkKind KindOf(const tpm::PublicArea& ak) {
  return ak.type == tpm::AlgId::kRsa ? AkKind::kRsa2048 : AkKind::kEccP256;
}

// What contradicts `options` in the AK that is kept.
absl::Status CheckKept(const AkBlobs& kept, const IdentityOptions& options,
                       const std::string& path) {
  const auto area = tpm::ParseTpm2bPublic(kept.public_blob);
  if (!area.ok()) {
    return AddCure(absl::DataLossError(area.status().message()), path);
  }
  if (options.ek_template.has_value() &&
      *options.ek_template != kept.ek_template) {
    return AddCure(
        absl::FailedPreconditionError(absl::StrCat(
            "the AK that is kept is under EK ",
            tpm::EkTemplateName(kept.ek_template), ", the configuration says ",
            tpm::EkTemplateName(*options.ek_template))),
        path);
  }
  if (KindOf(*area) != options.ak_kind) {
    return AddCure(absl::FailedPreconditionError(
                       "the AK that is kept is of another kind than the "
                       "configuration says"),
                   path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SaveAk(const std::string& path, const AkBlobs& ak) {
  return WriteFile(path, AsText(SerializeAk(ak)), {.mode = 0600});
}

absl::StatusOr<AkBlobs> LoadAk(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         ReadFile(path, kMaxFileSize));
  auto ak = ParseAk(bytes);
  if (!ak.ok()) {
    return AddCure(absl::DataLossError(ak.status().message()), path);
  }
  return ak;
}

absl::StatusOr<std::vector<uint8_t>> EkCertificateOf(
    tpm::EkTemplate ek_template,
    const std::vector<EkCertificate>& certificates) {
  for (const EkCertificate& certificate : certificates) {
    if (certificate.ek_template == ek_template) return certificate.der;
  }
  return absl::NotFoundError(absl::StrCat(
      "the TPM has no certificate of its endorsement key (template ",
      tpm::EkTemplateName(ek_template),
      "); set ek_certificate_file to the one that its maker published"));
}

absl::StatusOr<Identity> PrepareIdentity(Tpm& tpm,
                                         const IdentityOptions& options) {
  const std::string path = absl::StrCat(options.state_folder, "/ak");
  absl::StatusOr<AkBlobs> ak = LoadAk(path);
  Identity identity;
  identity.ak_is_new = ak.status().code() == absl::StatusCode::kNotFound;
  if (!identity.ak_is_new) {
    CUPEL_RETURN_IF_ERROR(ak.status());
    CUPEL_RETURN_IF_ERROR(CheckKept(*ak, options, path));
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<EkCertificate> certificates,
                         tpm.ReadEkCertificates());
  if (!identity.ak_is_new) {
    identity.ek_template = ak->ek_template;
  } else if (options.ek_template.has_value()) {
    identity.ek_template = *options.ek_template;
  } else {
    const auto good = std::ranges::find_if(
        certificates, [](const EkCertificate& one) { return one.der.ok(); });
    if (good != certificates.end()) identity.ek_template = good->ek_template;
  }
  identity.ek_certificate = EkCertificateOf(identity.ek_template, certificates);
  if (identity.ak_is_new) {
    CUPEL_ASSIGN_OR_RETURN(ak,
                           tpm.CreateAk(identity.ek_template, options.ak_kind));
    CUPEL_RETURN_IF_ERROR(SaveAk(path, *ak));
  }
  auto area = tpm.UseAk(*ak);
  if (!area.ok()) {
    return area.status().code() == absl::StatusCode::kFailedPrecondition
               ? AddCure(area.status(), path)
               : area.status();
  }
  identity.ak = *std::move(area);
  CUPEL_ASSIGN_OR_RETURN(identity.ek, tpm.ReadEk(identity.ek_template));
  return identity;
}

}  // namespace cupel::agent
