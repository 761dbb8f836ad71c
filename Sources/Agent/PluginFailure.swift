import LinuxDevices
import Services

/// Why a plugin does not serve, and what to do about it. Operators see it beside the plugin's name.
struct PluginFailure: Error, Hashable, CustomStringConvertible {
  var description: String

  init(_ description: String) { self.description = description }

  /// With what the plugin complained of last.
  init(_ description: String, complaints: [String]) {
    let said = complaints.isEmpty ? "" : "; it said: \(complaints.joined(separator: " | "))"
    self.description = description + said
  }
}

extension PluginConfiguration {
  func ended(_ status: ExitStatus, hasServed: Bool, complaints: [String]) -> PluginFailure {
    let when = hasServed ? "while it served" : "before it answered the handshake"
    return PluginFailure("\(executable) ended with \(status) \(when)", complaints: complaints)
  }

  func stuck(within limit: Duration, complaints: [String]) -> PluginFailure {
    PluginFailure(
      "\(executable) was stuck: it did not answer for \(limit), and was ended", complaints: complaints)
  }

  func handshakeFailed(_ error: any Error, within limit: Duration, complaints: [String]) -> PluginFailure {
    let error = error as? RPCError
    let message =
      switch error?.code {
      case .deadlineExceeded:
        "\(executable) did not answer the handshake within \(limit): is it a plugin of iovmesh?"
      case .unimplemented:
        "\(executable) answers, but does not offer iov.v1.VirtualFunctions: is it a plugin of iovmesh?"
      default: "\(executable) failed the handshake: \(error?.message ?? "unknown reason")"
      }
    return PluginFailure(message, complaints: complaints)
  }
}
