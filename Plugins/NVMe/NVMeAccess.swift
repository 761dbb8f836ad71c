import FunctionPluginKit
import Glibc
import LinuxDevices

/// By what drives are reached on this host; tests put drives of their own here.
struct NVMeAccess: Sendable {
  var sysfs = Sysfs()
  var devices = "/dev"
  /// How long a namespace may take to come or go: its controller is asked anew then, which one in trouble does not answer.
  var patience: Duration = .seconds(20)
  var open: @Sendable (_ path: String) throws -> any NVMeTransport = { try NVMeDevice($0) }

  func transport(to controller: NVMeController) throws -> any NVMeTransport {
    try open(controller.devicePath(under: devices))
  }

  /// Drives announce what changes; those that do not are asked.
  func lookAgain(_ controllers: [String]) {
    for controller in controllers { try? sysfs.write(1, to: "class/nvme/\(controller)/rescan_controller") }
  }

  /// Whether it came to be so in time.
  func wait(until isSo: () throws -> Bool) rethrows -> Bool {
    let end = ContinuousClock.now + patience
    while try !isSo() {
      guard ContinuousClock.now < end else { return false }
      usleep(50_000)
    }
    return true
  }
}
