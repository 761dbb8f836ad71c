import Messages

/// Where orphans are, and what they use that nobody else is given: each with how many of them there are.
struct OrphanIndex: Sendable {
  private var hostsOfFunction: [String: [String: Int]] = [:]
  private var ofHost: [String: Int] = [:]
  private var ofAddress: [MACAddress: Int] = [:]
  private var ofNetwork: [UInt32: Int] = [:]

  /// Those that have some, in order.
  var hosts: [String] { ofHost.keys.sorted() }

  /// Those that have a function as an orphan, in order.
  func hosts(with function: String) -> [String] { hostsOfFunction[function]?.keys.sorted() ?? [] }

  func uses(_ address: MACAddress) -> Bool { ofAddress[address] != nil }
  func uses(vni: UInt32) -> Bool { ofNetwork[vni] != nil }

  /// - Parameter count: 1 if it has come, -1 if it has gone.
  mutating func add(_ count: Int, _ status: FunctionStatus, on host: String) {
    Self.add(count, to: host, &ofHost)
    let function = status.function?.id ?? ""
    Self.add(count, to: host, &hostsOfFunction[function, default: [:]])
    if hostsOfFunction[function]?.isEmpty ?? false { hostsOfFunction[function] = nil }
    if let address = status.assignment?.macAddress { Self.add(count, to: address, &ofAddress) }
    if let vni = status.assignment?.mediation?.vni { Self.add(count, to: vni, &ofNetwork) }
  }

  private static func add<Key>(_ count: Int, to key: Key, _ counts: inout [Key: Int]) {
    let sum = (counts[key] ?? 0) + count
    counts[key] = sum == 0 ? nil : sum
  }
}
