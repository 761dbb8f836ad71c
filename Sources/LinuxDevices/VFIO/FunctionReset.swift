/// Whether and how a function may be brought to its initial state, so that its next user finds nothing of the former one's.
///
/// Only while nobody drives it: `reset` on a virtual function bound to igbvf hung a whole machine.
public struct FunctionReset: Sendable, Hashable {
  public enum Way: Sendable, Hashable {
    /// The method that the kernel tries first is good: only the reset is to be asked for.
    case first(String)
    /// The method is to be chosen before, and the former list to be put back afterwards.
    case choosing(String, former: [String])
    /// A kernel before 5.15 does not tell its methods; for a virtual function it has none that reaches others.
    case untold
  }

  public let address: PCIAddress
  public let way: Way

  /// Methods that reach this function alone. "bus" and "cxl_bus" reset whatever else is behind the same port.
  static let narrowMethods = ["flr", "device_specific", "af_flr", "acpi", "pm"]

  /// - Throws: `ResetError` when it must not or cannot be reset.
  public init(of function: PCIFunction) throws(ResetError) {
    address = function.address
    if let driver = function.driver, !DriverBinding.isVFIO(driver) { throw .driven(function.address, by: driver) }
    let methods = function.resetMethods
    if methods.isEmpty, function.physicalFunction != nil {
      way = .untold
    } else if methods.first == "device_specific" {
      // Comes first where the kernel knows that the card's own way is broken.
      way = .first("device_specific")
    } else if let method = Self.narrowMethods.first(where: methods.contains) {
      way = method == methods.first ? .first(method) : .choosing(method, former: methods)
    } else {
      throw .notOffered(function.address, methods: methods)
    }
  }
}

public enum ResetError: Error, Hashable, CustomStringConvertible {
  case vanished(PCIAddress)
  case driven(PCIAddress, by: String)
  case notOffered(PCIAddress, methods: [String])
  case refused(PCIAddress, SysfsError)
  /// It was reset and does not answer since.
  case silent(PCIAddress)

  public var description: String {
    switch self {
    case .vanished(let address): "\(address) is gone"
    case .driven(let address, let driver):
      "\(address) is not reset while driver \(driver) has it, which can hang the machine: unbind it, or bind it to vfio-pci"
    case .notOffered(let address, []): "\(address) has no way to be reset"
    case .notOffered(let address, let methods):
      "\(address) can only be reset together with what else is on its bus (\(methods.joined(separator: ", ")))"
    case .refused(let address, let error): "\(address) could not be reset: \(error)"
    case .silent(let address): "\(address) was reset and does not answer since: its card may need a power cycle"
    }
  }
}

extension Sysfs {
  /// Resets a function and looks whether it answers. Takes 100 ms, or up to a minute with a card that is slow to come back.
  ///
  /// - Returns: the method; nil where the kernel does not tell.
  @discardableResult
  public func reset(_ address: PCIAddress) throws(ResetError) -> String? {
    guard let function = pciFunction(address) else { throw .vanished(address) }
    let reset = try FunctionReset(of: function)
    let method: String?
    switch reset.way {
    case .first(let name):
      method = name
      try write(reset)
    case .choosing(let name, let former):
      method = name
      let path = "\(address.sysfsPath)/reset_method"
      do { try write(name, to: path) } catch { throw .refused(address, error) }
      // Others may rely on the list, and it outlives this function's user.
      defer { try? write(former.joined(separator: " "), to: path) }
      try write(reset)
    case .untold:
      method = nil
      try write(reset)
    }
    guard exists(address.sysfsPath) else { throw .vanished(address) }
    guard answers(address) else { throw .silent(address) }
    return method
  }

  private func write(_ reset: FunctionReset) throws(ResetError) {
    do {
      try write(1, to: "\(reset.address.sysfsPath)/reset")
    } catch {
      throw exists(reset.address.sysfsPath) ? .refused(reset.address, error) : .vanished(reset.address)
    }
  }

  /// Command and status of a function that is not reached read as all ones. Its vendor says nothing: a virtual function
  /// reads all ones there always (PCI Express SR-IOV, 3.4.1.1). Where the space cannot be read, the kernel's word counts, which
  /// waits for the function after a reset.
  private func answers(_ address: PCIAddress) -> Bool {
    guard let bytes = bytes("\(address.sysfsPath)/config", atMost: 64),
      let commandAndStatus = bytes.integer(at: 4, as: UInt32.self)
    else { return true }
    return commandAndStatus != .max
  }
}
