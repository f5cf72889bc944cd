#include "agent/tpm/esys_handles.h"

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::agent {

absl::StatusOr<EsysPtr<TPMS_CAPABILITY_DATA>> GetCapability(
    EsysContext& context, TPM2_CAP capability, uint32_t property,
    uint32_t count) {
  EsysPtr<TPMS_CAPABILITY_DATA> data;
  CUPEL_RETURN_IF_ERROR(context.Call("TPM2_GetCapability", [&] {
    TPMI_YES_NO more = TPM2_NO;
    return Esys_GetCapability(context.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                              ESYS_TR_NONE, capability, property, count, &more,
                              Out(data));
  }));
  return data;
}

absl::StatusOr<std::vector<TPM2_HANDLE>> ListHandles(EsysContext& context,
                                                     TPM2_HANDLE first) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto data,
      GetCapability(context, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES));
  const TPML_HANDLE& handles = data->data.handles;
  return std::vector<TPM2_HANDLE>(handles.handle,
                                  handles.handle + handles.count);
}

absl::StatusOr<ForeignHandle> ForeignHandle::Open(EsysContext& context,
                                                  TPM2_HANDLE handle) {
  ESYS_TR opened = ESYS_TR_NONE;
  CUPEL_RETURN_IF_ERROR(context.Call(
      absl::StrCat("looking at handle 0x", absl::Hex(handle)), [&] {
        return Esys_TR_FromTPMPublic(context.get(), handle, ESYS_TR_NONE,
                                     ESYS_TR_NONE, ESYS_TR_NONE, &opened);
      }));
  return ForeignHandle(context, opened);
}

ForeignHandle::~ForeignHandle() {
  if (handle_ != ESYS_TR_NONE) Esys_TR_Close(context_->get(), &handle_);
}

}  // namespace cupel::agent
