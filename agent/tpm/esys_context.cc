#include "agent/tpm/esys_context.h"

#include <tss2/tss2_tctildr.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/tpm/return_code.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"

namespace cupel::agent {

uint32_t RetryWhileBusy(absl::FunctionRef<uint32_t()> call,
                        absl::FunctionRef<void(absl::Duration)> sleep) {
  constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
  constexpr absl::Duration kLongestPause = absl::Milliseconds(1280);
  uint32_t code = call();
  for (absl::Duration pause = kFirstPause;
       IsBusy(code) && pause <= kLongestPause; pause *= 2) {
    sleep(pause);
    code = call();
  }
  return code;
}

absl::StatusOr<std::unique_ptr<EsysContext>> EsysContext::Open(
    const std::string& tcti) {
  std::unique_ptr<EsysContext> context(new EsysContext);
  uint32_t code = Tss2_TctiLdr_Initialize(tcti.c_str(), &context->tcti_);
  if (code == TSS2_RC_SUCCESS) {
    code = Esys_Initialize(&context->esys_, context->tcti_, nullptr);
  }
  if (code == TSS2_RC_SUCCESS) return context;
  absl::Status status = StatusFromReturnCode(
      code, absl::StrCat("TPM at \"", EscapeForDisplay(tcti), "\""));
  // The loader says kInternal things of a socket that nobody listens on.
  if (status.code() == absl::StatusCode::kInternal) {
    status = absl::UnavailableError(status.message());
  }
  return status;
}

EsysContext::~EsysContext() {
  if (esys_ != nullptr) Esys_Finalize(&esys_);
  if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
}

absl::Status EsysContext::Call(absl::string_view command,
                               absl::FunctionRef<uint32_t()> call) {
  if (broken_) {
    return absl::UnavailableError(
        absl::StrCat(command, ": the connection to the TPM broke before"));
  }
  const uint32_t code =
      RetryWhileBusy(call, [](absl::Duration pause) { absl::SleepFor(pause); });
  broken_ = BreaksContext(code);
  return StatusFromReturnCode(code, command);
}

ScopedHandle& ScopedHandle::operator=(ScopedHandle&& other) noexcept {
  if (this == &other) return *this;
  Flush().IgnoreError();
  context_ = std::exchange(other.context_, nullptr);
  handle_ = std::exchange(other.handle_, ESYS_TR_NONE);
  return *this;
}

absl::Status ScopedHandle::Flush() {
  if (context_ == nullptr || handle_ == ESYS_TR_NONE) return absl::OkStatus();
  const ESYS_TR handle = std::exchange(handle_, ESYS_TR_NONE);
  return context_->Call("TPM2_FlushContext", [&] {
    return Esys_FlushContext(context_->get(), handle);
  });
}

}  // namespace cupel::agent
