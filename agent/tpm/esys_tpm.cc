#include "agent/tpm/esys_tpm.h"

#include <stdlib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/tpm/esys_context.h"
#include "agent/tpm/esys_handles.h"
#include "agent/tpm/esys_marshal.h"
#include "agent/tpm/leftovers.h"
#include "common/crypto/certificate.h"
#include "common/crypto/pcr.h"
#include "common/tpm/attest.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::tpm::PcrSelection;
using ::cupel::tpm::PcrValues;
using ::cupel::tpm::PublicArea;

// How often a reading of PCRs, or a quote with one, is taken again because they
// changed in between.
constexpr int kTries = 8;

// Copies into a TPM2B; kInvalidArgument if `bytes` are too many for it.
template <typename Sized>
absl::StatusOr<Sized> ToSized(std::span<const uint8_t> bytes,
                              absl::string_view what) {
  Sized sized = {};
  if (bytes.size() > sizeof(sized.buffer)) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": ", bytes.size(), " bytes, limit ", sizeof(sized.buffer)));
  }
  sized.size = static_cast<UINT16>(bytes.size());
  std::ranges::copy(bytes, sized.buffer);
  return sized;
}

absl::StatusOr<TPM2B_PUBLIC> ToPublic(const PublicArea& area) {
  TPM2B_PUBLIC sized = {};
  CUPEL_ASSIGN_OR_RETURN(
      sized.publicArea,
      FromBytes<TPMT_PUBLIC>(area.Serialize(), Tss2_MU_TPMT_PUBLIC_Unmarshal,
                             "public area"));
  return sized;
}

absl::StatusOr<PublicArea> FromPublic(const TPM2B_PUBLIC& sized) {
  CUPEL_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> bytes,
      ToBytes(sized.publicArea, Tss2_MU_TPMT_PUBLIC_Marshal, "public area"));
  return tpm::ParsePublicArea(bytes);
}

// The banks that have PCRs, in the TPM's order.
absl::StatusOr<std::vector<TPM2_ALG_ID>> AllocatedBankIds(
    EsysContext& context) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto data,
      GetCapability(context, TPM2_CAP_PCRS, 0, TPM2_MAX_CAP_BUFFER));
  std::vector<TPM2_ALG_ID> ids;
  const TPML_PCR_SELECTION& pcrs = data->data.assignedPCR;
  for (const TPMS_PCR_SELECTION& bank :
       std::span(pcrs.pcrSelections, pcrs.count)) {
    if (!IsZero({bank.pcrSelect, bank.sizeofSelect})) ids.push_back(bank.hash);
  }
  return ids;
}

// One of TPM2_PT_...; kNotFound if this TPM does not have it.
absl::StatusOr<uint32_t> ReadProperty(EsysContext& context, TPM2_PT property) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto data,
      GetCapability(context, TPM2_CAP_TPM_PROPERTIES, property, 1));
  const TPML_TAGGED_TPM_PROPERTY& found = data->data.tpmProperties;
  if (found.count != 1 || found.tpmProperty[0].property != property) {
    return absl::NotFoundError(absl::StrCat(
        "TPM2_GetCapability: no property 0x", absl::Hex(property)));
  }
  return found.tpmProperty[0].value;
}

absl::StatusOr<TpmState> ReadTpmState(EsysContext& context) {
  TpmState state;
  CUPEL_ASSIGN_OR_RETURN(state.clock, ReadClockInfo(context));
  CUPEL_ASSIGN_OR_RETURN(const uint32_t maker,
                         ReadProperty(context, TPM2_PT_MANUFACTURER));
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto c = static_cast<char>(maker >> shift & 0xff);
    if (c != '\0') state.manufacturer += c;
  }
  CUPEL_ASSIGN_OR_RETURN(const uint32_t permanent,
                         ReadProperty(context, TPM2_PT_PERMANENT));
  state.is_locked_out = (permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
  CUPEL_ASSIGN_OR_RETURN(const uint32_t startup,
                         ReadProperty(context, TPM2_PT_STARTUP_CLEAR));
  state.has_endorsement = (startup & TPMA_STARTUP_CLEAR_EHENABLE) != 0;
  CUPEL_ASSIGN_OR_RETURN(state.free_object_count,
                         ReadProperty(context, TPM2_PT_HR_TRANSIENT_AVAIL));
  CUPEL_ASSIGN_OR_RETURN(state.free_session_count,
                         ReadProperty(context, TPM2_PT_HR_LOADED_AVAIL));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<TPM2_ALG_ID> ids,
                         AllocatedBankIds(context));
  for (const TPM2_ALG_ID id : ids) {
    if (!tpm::HashFromAlgId(static_cast<tpm::AlgId>(id)).has_value()) {
      state.unnamed_banks.push_back(id);
    }
  }
  return state;
}

absl::StatusOr<std::vector<uint8_t>> ReadNv(EsysContext& context,
                                            TPM2_HANDLE handle) {
  // What a TPM reads at once is asked of it; every one reads this much.
  uint16_t chunk = 256;
  const auto property = ReadProperty(context, TPM2_PT_NV_BUFFER_MAX);
  if (property.ok()) {
    chunk = static_cast<uint16_t>(
        std::clamp<uint32_t>(*property, 1, TPM2_MAX_NV_BUFFER_SIZE));
  } else if (property.status().code() != absl::StatusCode::kNotFound) {
    return property.status();
  }
  CUPEL_ASSIGN_OR_RETURN(const ForeignHandle index,
                         ForeignHandle::Open(context, handle));
  EsysPtr<TPM2B_NV_PUBLIC> area;
  CUPEL_RETURN_IF_ERROR(context.Call("TPM2_NV_ReadPublic", [&] {
    EsysPtr<TPM2B_NAME> name;
    return Esys_NV_ReadPublic(context.get(), index.get(), ESYS_TR_NONE,
                              ESYS_TR_NONE, ESYS_TR_NONE, Out(area), Out(name));
  }));
  const uint16_t size = area->nvPublic.dataSize;
  std::vector<uint8_t> content;
  while (content.size() < size) {
    const auto offset = static_cast<uint16_t>(content.size());
    const uint16_t wanted =
        std::min(chunk, static_cast<uint16_t>(size - offset));
    EsysPtr<TPM2B_MAX_NV_BUFFER> data;
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_NV_Read", [&] {
      return Esys_NV_Read(context.get(), index.get(), index.get(),
                          ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, wanted,
                          offset, Out(data));
    }));
    if (data->size == 0) {
      return absl::InternalError("TPM2_NV_Read: an answer without data");
    }
    Append(content, {data->buffer, data->size});
  }
  return content;
}

struct LoadedEk {
  ScopedHandle handle;
  PublicArea area;
};

absl::StatusOr<LoadedEk> CreateEk(EsysContext& context,
                                  tpm::EkTemplate ek_template) {
  CUPEL_ASSIGN_OR_RETURN(const TPM2B_PUBLIC wanted,
                         ToPublic(tpm::EkTemplateArea(ek_template)));
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION no_pcrs = {};
  ESYS_TR handle = ESYS_TR_NONE;
  EsysPtr<TPM2B_PUBLIC> made;
  CUPEL_RETURN_IF_ERROR(context.Call(
      absl::StrCat("TPM2_CreatePrimary of EK ",
                   tpm::EkTemplateName(ek_template)),
      [&] {
        EsysPtr<TPM2B_CREATION_DATA> data;
        EsysPtr<TPM2B_DIGEST> hash;
        EsysPtr<TPMT_TK_CREATION> ticket;
        return Esys_CreatePrimary(
            context.get(), ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD,
            ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted, &outside, &no_pcrs,
            &handle, Out(made), Out(data), Out(hash), Out(ticket));
      }));
  LoadedEk ek{ScopedHandle(context, handle), {}};
  CUPEL_ASSIGN_OR_RETURN(ek.area, FromPublic(*made));
  return ek;
}

// What authorizes one use of an EK. Those of the low range have a policy,
// PolicySecret of the endorsement hierarchy; those of the high range take their
// password too, which is empty (TCG EK Credential Profile, B.3 and B.4).
class EkAuthorization {
 public:
  // `note`, unless it is null, has the session in it as long as that is there.
  static absl::StatusOr<EkAuthorization> Create(EsysContext& context,
                                                const PublicArea& ek,
                                                SessionNote* note) {
    if ((ek.attributes & tpm::kAttrUserWithAuth) != 0) return EkAuthorization();
    const TPMT_SYM_DEF symmetric = {
        .algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
    const auto hash = static_cast<TPMI_ALG_HASH>(
        tpm::AlgIdFromHash(ek.name_algorithm).value_or(tpm::AlgId::kSha256));
    if (note != nullptr) {
      CUPEL_RETURN_IF_ERROR(note->Expect(context));
    }
    ESYS_TR session = ESYS_TR_NONE;
    const absl::Status status = context.Call("TPM2_StartAuthSession", [&] {
      return Esys_StartAuthSession(
          context.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
          ESYS_TR_NONE, nullptr, TPM2_SE_POLICY, &symmetric, hash, &session);
    });
    if (!status.ok()) {
      // The TPM has opened none, unless its answer got lost.
      if (note != nullptr && !context.broken()) note->Clear();
      return status;
    }
    EkAuthorization authorization;
    authorization.session_ = ScopedHandle(context, session);
    if (note != nullptr) {
      authorization.note_ = note;
      CUPEL_RETURN_IF_ERROR(note->Write(context, session));
    }
    // Else the TPM ends it after its use, and ESYS still knows it.
    CUPEL_RETURN_IF_ERROR(context.Call("the session's attributes", [&] {
      return Esys_TRSess_SetAttributes(context.get(), session,
                                       TPMA_SESSION_CONTINUESESSION, 0xff);
    }));
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_PolicySecret", [&] {
      EsysPtr<TPM2B_TIMEOUT> timeout;
      EsysPtr<TPMT_TK_AUTH> ticket;
      return Esys_PolicySecret(context.get(), ESYS_TR_RH_ENDORSEMENT, session,
                               ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                               nullptr, nullptr, nullptr, 0, Out(timeout),
                               Out(ticket));
    }));
    return authorization;
  }

  EkAuthorization(EkAuthorization&& other) noexcept
      : session_(std::move(other.session_)),
        note_(std::exchange(other.note_, nullptr)) {}
  EkAuthorization(const EkAuthorization&) = delete;
  EkAuthorization& operator=(const EkAuthorization&) = delete;
  EkAuthorization& operator=(EkAuthorization&&) = delete;
  ~EkAuthorization() {
    const absl::Status status = session_.Flush();
    // A session that could not be flushed is by the next context.
    if (note_ != nullptr && status.ok()) note_->Clear();
  }

  ESYS_TR get() const {
    return session_.get() == ESYS_TR_NONE ? ESYS_TR_PASSWORD : session_.get();
  }

 private:
  EkAuthorization() = default;

  ScopedHandle session_;
  SessionNote* note_ = nullptr;
};

PublicArea AkTemplate(AkKind kind) {
  PublicArea area;
  area.name_algorithm = HashAlgorithm::kSha256;
  area.attributes = tpm::kAttrFixedTpm | tpm::kAttrFixedParent |
                    tpm::kAttrSensitiveDataOrigin | tpm::kAttrUserWithAuth |
                    tpm::kAttrNoDa | tpm::kAttrRestricted | tpm::kAttrSign;
  area.scheme.hash = HashAlgorithm::kSha256;
  switch (kind) {
    case AkKind::kEccP256:
      area.type = tpm::AlgId::kEcc;
      area.curve = crypto::EcCurve::kP256;
      area.scheme.scheme = tpm::AlgId::kEcdsa;
      break;
    case AkKind::kRsa2048:
      area.type = tpm::AlgId::kRsa;
      area.key_bits = 2048;
      area.scheme.scheme = tpm::AlgId::kRsassa;
      break;
  }
  return area;
}

absl::StatusOr<AkBlobs> MakeAk(EsysContext& context, SessionNote* note,
                               tpm::EkTemplate ek_template, AkKind kind) {
  // Nobody has used the EK's Name yet, so that UseAk can't have removed what a
  // process that was killed here has left.
  CUPEL_RETURN_IF_ERROR(FlushEks(context, ek_template));
  CUPEL_ASSIGN_OR_RETURN(const LoadedEk ek, CreateEk(context, ek_template));
  CUPEL_ASSIGN_OR_RETURN(const EkAuthorization authorization,
                         EkAuthorization::Create(context, ek.area, note));
  CUPEL_ASSIGN_OR_RETURN(const TPM2B_PUBLIC wanted, ToPublic(AkTemplate(kind)));
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION no_pcrs = {};
  EsysPtr<TPM2B_PRIVATE> private_part;
  EsysPtr<TPM2B_PUBLIC> public_part;
  CUPEL_RETURN_IF_ERROR(context.Call("TPM2_Create of the AK", [&] {
    EsysPtr<TPM2B_CREATION_DATA> data;
    EsysPtr<TPM2B_DIGEST> hash;
    EsysPtr<TPMT_TK_CREATION> ticket;
    return Esys_Create(context.get(), ek.handle.get(), authorization.get(),
                       ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted,
                       &outside, &no_pcrs, Out(private_part), Out(public_part),
                       Out(data), Out(hash), Out(ticket));
  }));
  AkBlobs blobs;
  blobs.ek_template = ek_template;
  blobs.ek_name = ek.area.Name();
  CUPEL_ASSIGN_OR_RETURN(
      blobs.public_blob,
      ToBytes(*public_part, Tss2_MU_TPM2B_PUBLIC_Marshal, "AK's public part"));
  CUPEL_ASSIGN_OR_RETURN(blobs.private_blob,
                         ToBytes(*private_part, Tss2_MU_TPM2B_PRIVATE_Marshal,
                                 "AK's private part"));
  return blobs;
}

absl::Status NotThisTpms(absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the AK does not belong to this TPM's EK (", why,
      "): it was made with another TPM, or before this one was cleared"));
}

absl::StatusOr<ScopedHandle> LoadAk(EsysContext& context, SessionNote* note,
                                    const LoadedEk& ek, const AkBlobs& blobs) {
  if (ek.area.Name() != blobs.ek_name) return NotThisTpms("another EK Name");
  CUPEL_ASSIGN_OR_RETURN(
      const TPM2B_PUBLIC public_part,
      FromBytes<TPM2B_PUBLIC>(blobs.public_blob, Tss2_MU_TPM2B_PUBLIC_Unmarshal,
                              "AK's public part"));
  CUPEL_ASSIGN_OR_RETURN(
      const TPM2B_PRIVATE private_part,
      FromBytes<TPM2B_PRIVATE>(blobs.private_blob,
                               Tss2_MU_TPM2B_PRIVATE_Unmarshal,
                               "AK's private part"));
  CUPEL_ASSIGN_OR_RETURN(const EkAuthorization authorization,
                         EkAuthorization::Create(context, ek.area, note));
  ESYS_TR handle = ESYS_TR_NONE;
  const absl::Status status = context.Call("TPM2_Load of the AK", [&] {
    return Esys_Load(context.get(), ek.handle.get(), authorization.get(),
                     ESYS_TR_NONE, ESYS_TR_NONE, &private_part, &public_part,
                     &handle);
  });
  // The password was right a moment ago: what fails is the blob.
  if (status.code() == absl::StatusCode::kPermissionDenied) {
    return NotThisTpms(status.message());
  }
  CUPEL_RETURN_IF_ERROR(status);
  return ScopedHandle(context, handle);
}

// One bank's PCRs into `values`; adds to `counters` the update counter that
// each answer came with.
absl::Status ReadBank(EsysContext& context, HashAlgorithm bank, uint32_t mask,
                      PcrValues& values, std::vector<uint32_t>& counters) {
  while (mask != 0) {
    CUPEL_ASSIGN_OR_RETURN(const PcrSelection wanted,
                           PcrSelection::Create({{bank, mask}}));
    CUPEL_ASSIGN_OR_RETURN(
        const TPML_PCR_SELECTION selection,
        FromBytes<TPML_PCR_SELECTION>(wanted.Serialize(),
                                      Tss2_MU_TPML_PCR_SELECTION_Unmarshal,
                                      "PCR selection"));
    EsysPtr<TPML_PCR_SELECTION> read;
    EsysPtr<TPML_DIGEST> digests;
    uint32_t counter = 0;
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_PCR_Read", [&] {
      return Esys_PCR_Read(context.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                           ESYS_TR_NONE, &selection, &counter, Out(read),
                           Out(digests));
    }));
    counters.push_back(counter);
    CUPEL_ASSIGN_OR_RETURN(
        const std::vector<uint8_t> bytes,
        ToBytes(*read, Tss2_MU_TPML_PCR_SELECTION_Marshal, "PCR selection"));
    CUPEL_ASSIGN_OR_RETURN(const PcrSelection got, PcrSelection::Parse(bytes));
    const uint32_t got_mask = got.MaskOf(bank);
    if (got_mask == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "TPM2_PCR_Read: the ", tpm::BankName(bank),
          " bank is not allocated: choose another, or allocate it with "
          "tpm2_pcrallocate and reboot"));
    }
    if ((got_mask & ~mask) != 0 || got.pcr_count() != digests->count) {
      return absl::InternalError(
          "TPM2_PCR_Read: an answer that does not fit the question");
    }
    size_t next = 0;
    for (uint32_t pcr = 0; pcr < crypto::kPcrCount; ++pcr) {
      if ((got_mask >> pcr & 1) == 0) continue;
      const TPM2B_DIGEST& digest = digests->digests[next++];
      CUPEL_ASSIGN_OR_RETURN(
          const Digest value,
          Digest::Create(bank, {digest.buffer, digest.size}));
      CUPEL_RETURN_IF_ERROR(values.Set(pcr, value));
    }
    mask &= ~got_mask;
  }
  return absl::OkStatus();
}

absl::StatusOr<PcrValues> ReadValues(EsysContext& context,
                                     const PcrSelection& selection) {
  for (int i = 0; i < kTries; ++i) {
    PcrValues values;
    std::vector<uint32_t> counters;
    for (const tpm::BankSelection& bank : selection.banks()) {
      CUPEL_RETURN_IF_ERROR(
          ReadBank(context, bank.bank, bank.mask, values, counters));
    }
    if (std::ranges::adjacent_find(counters, std::ranges::not_equal_to()) ==
        counters.end()) {
      return values;
    }
  }
  return absl::UnavailableError(
      "TPM2_PCR_Read: the PCRs changed while they were read, again and again");
}

absl::StatusOr<Quote> TakeQuote(EsysContext& context, ESYS_TR ak,
                                HashAlgorithm scheme_hash,
                                const TPM2B_DATA& qualifying_data,
                                const PcrSelection& selection) {
  CUPEL_ASSIGN_OR_RETURN(
      const TPML_PCR_SELECTION wanted,
      FromBytes<TPML_PCR_SELECTION>(selection.Serialize(),
                                    Tss2_MU_TPML_PCR_SELECTION_Unmarshal,
                                    "PCR selection"));
  const TPMT_SIG_SCHEME keys_own = {.scheme = TPM2_ALG_NULL, .details = {}};
  CUPEL_ASSIGN_OR_RETURN(PcrValues before, ReadValues(context, selection));
  for (int i = 0; i < kTries; ++i) {
    EsysPtr<TPM2B_ATTEST> attest;
    EsysPtr<TPMT_SIGNATURE> signature;
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_Quote", [&] {
      return Esys_Quote(context.get(), ak, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                        ESYS_TR_NONE, &qualifying_data, &keys_own, &wanted,
                        Out(attest), Out(signature));
    }));
    Quote quote;
    quote.attest.assign(attest->attestationData,
                        attest->attestationData + attest->size);
    CUPEL_ASSIGN_OR_RETURN(
        quote.signature,
        ToBytes(*signature, Tss2_MU_TPMT_SIGNATURE_Marshal, "signature"));
    CUPEL_ASSIGN_OR_RETURN(const tpm::Attest parsed,
                           tpm::ParseAttest(quote.attest));
    const auto explains = [&](const PcrValues& values) -> absl::StatusOr<bool> {
      CUPEL_ASSIGN_OR_RETURN(const Digest composite,
                             tpm::PcrComposite(scheme_hash, selection, values));
      return std::ranges::equal(composite.bytes(), parsed.quote.pcr_digest);
    };
    CUPEL_ASSIGN_OR_RETURN(const bool explained, explains(before));
    if (explained) {
      quote.values = std::move(before);
      return quote;
    }
    CUPEL_ASSIGN_OR_RETURN(before, ReadValues(context, selection));
    CUPEL_ASSIGN_OR_RETURN(const bool explained_now, explains(before));
    if (explained_now) {
      quote.values = std::move(before);
      return quote;
    }
  }
  return absl::UnavailableError(
      "TPM2_Quote: the PCRs changed while they were quoted, again and again");
}

class EsysTpmImpl : public EsysTpm {
 public:
  EsysTpmImpl(EsysOptions options, std::unique_ptr<SessionNote> note)
      : options_(std::move(options)), note_(std::move(note)) {}

  absl::Status Connect() {
    return Run([](EsysContext&) { return absl::OkStatus(); });
  }

  absl::StatusOr<std::vector<HashAlgorithm>> AllocatedBanks() override {
    return Run([&](EsysContext& context)
                   -> absl::StatusOr<std::vector<HashAlgorithm>> {
      CUPEL_ASSIGN_OR_RETURN(const std::vector<TPM2_ALG_ID> ids,
                             AllocatedBankIds(context));
      std::vector<HashAlgorithm> banks;
      for (const TPM2_ALG_ID id : ids) {
        const auto algorithm = tpm::HashFromAlgId(static_cast<tpm::AlgId>(id));
        if (algorithm.has_value()) banks.push_back(*algorithm);
      }
      return banks;
    });
  }

  absl::StatusOr<TpmState> ReadState() override {
    return Run([](EsysContext& context) { return ReadTpmState(context); });
  }

  absl::StatusOr<PcrValues> ReadPcrs(const PcrSelection& selection) override {
    return Run(
        [&](EsysContext& context) { return ReadValues(context, selection); });
  }

  absl::Status ExtendPcr(uint32_t pcr,
                         std::span<const Digest> values) override {
    TPML_DIGEST_VALUES digests = {};
    if (pcr >= crypto::kPcrCount || values.empty() ||
        values.size() > std::size(digests.digests)) {
      return absl::InvalidArgumentError(
          absl::StrCat("TPM2_PCR_Extend: PCR ", pcr, " by ", values.size(),
                       " values; there are PCR 0 to 23, and 1 to ",
                       std::size(digests.digests), " banks"));
    }
    for (const Digest& value : values) {
      const auto id = tpm::AlgIdFromHash(value.algorithm());
      if (!id.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("TPM2_PCR_Extend: no TPM has a bank of ",
                         crypto::HashAlgorithmName(value.algorithm())));
      }
      TPMT_HA& digest = digests.digests[digests.count++];
      digest.hashAlg = static_cast<TPMI_ALG_HASH>(*id);
      std::memcpy(&digest.digest, value.bytes().data(), value.size());
    }
    return Run([&](EsysContext& context) {
      return context.Call("TPM2_PCR_Extend", [&] {
        return Esys_PCR_Extend(context.get(), ESYS_TR_PCR0 + pcr,
                               ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                               &digests);
      });
    });
  }

  absl::StatusOr<std::vector<EkCertificate>> ReadEkCertificates() override {
    return Run([&](EsysContext& context)
                   -> absl::StatusOr<std::vector<EkCertificate>> {
      CUPEL_ASSIGN_OR_RETURN(const auto indices,
                             ListHandles(context, TPM2_NV_INDEX_FIRST));
      std::vector<EkCertificate> certificates;
      for (const tpm::EkTemplate id : tpm::kEkTemplates) {
        const uint32_t index = tpm::EkCertificateNvIndex(id);
        if (std::ranges::find(indices, index) == indices.end()) continue;
        const std::string name =
            absl::StrCat("EK certificate ", tpm::EkTemplateName(id),
                         " at NV index 0x", absl::Hex(index));
        const auto content = ReadNv(context, index);
        if (!content.ok()) return WithContext(content.status(), name);
        const auto der = crypto::WithoutPadding(*content);
        if (der.ok()) {
          certificates.push_back({id, ToVector(*der)});
        } else {
          certificates.push_back({id, WithContext(der.status(), name)});
        }
      }
      return certificates;
    });
  }

  absl::StatusOr<PublicArea> ReadEk(tpm::EkTemplate ek_template) override {
    return Run([&](EsysContext& context) -> absl::StatusOr<PublicArea> {
      CUPEL_ASSIGN_OR_RETURN(LoadedEk ek, CreateEk(context, ek_template));
      CUPEL_RETURN_IF_ERROR(ek.handle.Flush());
      return std::move(ek.area);
    });
  }

  absl::StatusOr<AkBlobs> CreateAk(tpm::EkTemplate ek_template,
                                   AkKind kind) override {
    return Run([&](EsysContext& context) {
      return MakeAk(context, note_.get(), ek_template, kind);
    });
  }

  absl::StatusOr<PublicArea> UseAk(const AkBlobs& blobs) override {
    return Run([&](EsysContext& context) -> absl::StatusOr<PublicArea> {
      ActiveAk ak;
      ak.blobs = blobs;
      CUPEL_ASSIGN_OR_RETURN(ak.area, tpm::ParseTpm2bPublic(blobs.public_blob));
      if (!ak.area.scheme.hash.has_value()) {
        return absl::FailedPreconditionError(
            "the AK has no fixed scheme, so that it is none");
      }
      ak_.reset();
      CUPEL_RETURN_IF_ERROR(
          FlushNamed(context, {ak.area.Name(), blobs.ek_name}));
      ak_ = std::move(ak);
      const absl::Status status = AcquireAk(context).status();
      if (!status.ok()) {
        // An I/O error says nothing about the AK: the next call may load it.
        if (!context.broken()) ak_.reset();
        return status;
      }
      return ak_->area;
    });
  }

  absl::StatusOr<Secret> ActivateCredential(
      const tpm::Credential& credential) override {
    return Run([&](EsysContext& context) -> absl::StatusOr<Secret> {
      CUPEL_RETURN_IF_ERROR(CheckHasAk());
      CUPEL_ASSIGN_OR_RETURN(
          const TPM2B_ID_OBJECT blob,
          FromBytes<TPM2B_ID_OBJECT>(credential.id_object,
                                     Tss2_MU_TPM2B_ID_OBJECT_Unmarshal,
                                     "credential"));
      CUPEL_ASSIGN_OR_RETURN(
          const TPM2B_ENCRYPTED_SECRET wrapped,
          FromBytes<TPM2B_ENCRYPTED_SECRET>(
              credential.encrypted_secret,
              Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal, "encrypted secret"));
      CUPEL_ASSIGN_OR_RETURN(const ScopedHandle ak, AcquireAk(context));
      CUPEL_ASSIGN_OR_RETURN(const LoadedEk ek,
                             CreateEk(context, ak_->blobs.ek_template));
      CUPEL_ASSIGN_OR_RETURN(
          const EkAuthorization authorization,
          EkAuthorization::Create(context, ek.area, note_.get()));
      EsysPtr<TPM2B_DIGEST> recovered;
      const absl::Status status = context.Call("TPM2_ActivateCredential", [&] {
        return Esys_ActivateCredential(
            context.get(), ak.get(), ek.handle.get(), ESYS_TR_PASSWORD,
            authorization.get(), ESYS_TR_NONE, &blob, &wrapped, Out(recovered));
      });
      if (status.code() == absl::StatusCode::kInternal) {
        // TPM_RC_SIZE, VALUE and the like: what is in it is no credential.
        return absl::InvalidArgumentError(status.message());
      }
      CUPEL_RETURN_IF_ERROR(status);
      Secret secret(std::span(recovered->buffer, recovered->size));
      explicit_bzero(recovered->buffer, recovered->size);
      return secret;
    });
  }

  absl::StatusOr<Quote> MakeQuote(std::span<const uint8_t> qualifying_data,
                                  const PcrSelection& selection) override {
    return Run([&](EsysContext& context) -> absl::StatusOr<Quote> {
      CUPEL_RETURN_IF_ERROR(CheckHasAk());
      if (selection.IsEmpty()) {
        return absl::InvalidArgumentError("a quote of no PCR at all");
      }
      CUPEL_ASSIGN_OR_RETURN(
          const TPM2B_DATA data,
          ToSized<TPM2B_DATA>(qualifying_data, "qualifying data"));
      CUPEL_ASSIGN_OR_RETURN(const ScopedHandle ak, AcquireAk(context));
      return TakeQuote(context, ak.get(), *ak_->area.scheme.hash, data,
                       selection);
    });
  }

 private:
  struct ActiveAk {
    AkBlobs blobs;
    PublicArea area;
    // The loaded AK as TPM2_ContextSave gave it: loading that takes a
    // millisecond and no EK. Good until the TPM is reset.
    std::optional<TPMS_CONTEXT> saved;
  };

  // Keeps other processes with the same note from the TPM.
  class NoteLock {
   public:
    explicit NoteLock(SessionNote* note) : note_(note) {
      if (note_ != nullptr) note_->Lock();
    }
    NoteLock(const NoteLock&) = delete;
    NoteLock& operator=(const NoteLock&) = delete;
    ~NoteLock() {
      if (note_ != nullptr) note_->Unlock();
    }

   private:
    SessionNote* note_;
  };

  // Runs `body` with a context that works, and drops it if it broke.
  template <typename Body>
  auto Run(Body body) -> decltype(body(std::declval<EsysContext&>())) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const NoteLock note_lock(note_.get());
    CUPEL_RETURN_IF_ERROR(EnsureOpen());
    if (note_ != nullptr) {
      const absl::Status status = note_->FlushNoted(*context_);
      if (context_->broken()) {
        context_.reset();
        return status;
      }
    }
    auto result = body(*context_);
    if (context_->broken()) context_.reset();
    return result;
  }

  absl::Status EnsureOpen() {
    if (context_ != nullptr) return absl::OkStatus();
    CUPEL_ASSIGN_OR_RETURN(auto context, EsysContext::Open(options_.tcti));
    const auto password = options_.endorsement_password.Reveal();
    if (!password.empty()) {
      CUPEL_ASSIGN_OR_RETURN(
          const TPM2B_AUTH auth,
          ToSized<TPM2B_AUTH>(password, "endorsement password"));
      CUPEL_RETURN_IF_ERROR(context->Call("the endorsement password", [&] {
        return Esys_TR_SetAuth(context->get(), ESYS_TR_RH_ENDORSEMENT, &auth);
      }));
    }
    // The call that broke the last context could not flush what it had loaded.
    if (ak_.has_value()) {
      CUPEL_RETURN_IF_ERROR(
          FlushNamed(*context, {ak_->area.Name(), ak_->blobs.ek_name}));
    }
    context_ = std::move(context);
    return absl::OkStatus();
  }

  absl::Status CheckHasAk() const {
    if (ak_.has_value()) return absl::OkStatus();
    return absl::FailedPreconditionError("no AK was chosen yet: UseAk first");
  }

  absl::StatusOr<ScopedHandle> AcquireAk(EsysContext& context) {
    ESYS_TR handle = ESYS_TR_NONE;
    if (ak_->saved.has_value()) {
      const absl::Status status = context.Call("TPM2_ContextLoad", [&] {
        return Esys_ContextLoad(context.get(), &*ak_->saved, &handle);
      });
      if (status.ok()) return ScopedHandle(context, handle);
      // No room is no room; anything else means that the TPM was reset.
      if (context.broken() ||
          status.code() == absl::StatusCode::kResourceExhausted) {
        return status;
      }
      ak_->saved.reset();
    }
    CUPEL_ASSIGN_OR_RETURN(LoadedEk ek,
                           CreateEk(context, ak_->blobs.ek_template));
    CUPEL_ASSIGN_OR_RETURN(ScopedHandle ak,
                           LoadAk(context, note_.get(), ek, ak_->blobs));
    CUPEL_RETURN_IF_ERROR(ek.handle.Flush());
    EsysPtr<TPMS_CONTEXT> saved;
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_ContextSave", [&] {
      return Esys_ContextSave(context.get(), ak.get(), Out(saved));
    }));
    ak_->saved = *saved;
    return ak;
  }

  const EsysOptions options_;
  const std::unique_ptr<SessionNote> note_;
  std::mutex mutex_;
  std::unique_ptr<EsysContext> context_;
  std::optional<ActiveAk> ak_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EsysTpm>> EsysTpm::Open(EsysOptions options) {
  std::unique_ptr<SessionNote> note;
  if (!options.session_note_file.empty()) {
    CUPEL_ASSIGN_OR_RETURN(note, SessionNote::Open(options.session_note_file));
  }
  auto tpm = std::make_unique<EsysTpmImpl>(std::move(options), std::move(note));
  CUPEL_RETURN_IF_ERROR(tpm->Connect());
  return tpm;
}

void SilenceTssLog() { setenv("TSS2_LOG", "all+NONE", 0); }

}  // namespace cupel::agent
