import FunctionPluginKit
import LinuxDevices

/// By what a drive tells hosts apart whose registrations it remembers. The kernel sets one over fabrics; a controller on PCI
/// Express starts with none, and takes no registration until it has one.
struct HostIdentifier: Sendable, Hashable {
  /// The same at every start, or the drive would not know the host's registration again.
  let bytes: [UInt8]

  init(host: String) {
    let text = StableDigest.hexadecimal(host) + StableDigest.hexadecimal("nvme host " + host)
    bytes = Array((Array(text.utf8) + [UInt8](repeating: 0, count: 16)).prefix(16))
  }

  func set(on controller: any NVMeTransport) throws(NVMeError) {
    guard try controller.send(GetHostIdentifier()).allSatisfy({ $0 == 0 }) else { return }
    try controller.send(SetHostIdentifier(bytes: bytes))
  }
}
