import CLinux
import Glibc
import LinuxDevices
import Synchronization

/// A host with one card that makes functions of its own, whose sysfs and rtnetlink say the same: a function has an interface
/// while the kernel's driver has it.
public final class CardHost: NetlinkTransport {
  public static let address = PCIAddress(bus: 1, device: 0, function: 0)
  public static let port = PCIAddress(bus: 0, device: 2, function: 0)
  public static let permanentAddress = MACAddress(octets: [0x52, 0x54, 0, 0xaa, 0, 1])
  public static let interface = "card0"
  static let driver = "igbvf"

  public let kernel: FakeKernel
  /// The settings of its functions.
  public let card = FakeCard(count: 0)

  private struct State {
    var hasCarrier = true
    /// How often the card's interface is looked at before its carrier comes.
    var looksUntilCarrier: Int?
    /// By index of the function, of those that the kernel's driver has.
    var interfaces: [UInt32: Interface] = [:]
  }

  private struct Interface {
    var name: String
    var settings = FakeLinks.Settings()
  }

  private let state = Mutex(State())

  public init(total: UInt32 = 7) throws {
    kernel = try FakeKernel()
    for driver in ["vfio-pci", Self.driver] { kernel.make("bus/pci/drivers/\(driver)") }
    kernel.make("module/vfio_iommu_type1")
    plugIn(total: total)
  }

  public func plugIn(total: UInt32 = 7) {
    kernel.addCard(FakeKernel.Card(address: Self.address, total: total, port: Self.port))
  }

  /// With all its functions.
  public func unplug() {
    for function in functions { kernel.unplug(function.address) }
    kernel.unplug(Self.address)
  }

  public var functions: [SRIOVFunction] { kernel.sysfs.sriovCapability(of: Self.address)?.functions ?? [] }

  /// Without one the driver refuses rates, as igb does.
  public var hasCarrier: Bool {
    get { state.withLock { $0.hasCarrier } }
    set {
      state.withLock { $0.hasCarrier = newValue }
      card.state.withLock { $0.refusals[.rate] = newValue ? nil : EINVAL }
    }
  }

  /// There is none, until the card's interface has been looked at so often.
  public func bringCarrier(afterLooks looks: Int) {
    hasCarrier = false
    state.withLock { $0.looksUntilCarrier = looks }
  }

  private func look() {
    let isThere = state.withLock { state in
      guard let left = state.looksUntilCarrier else { return false }
      state.looksUntilCarrier = left > 1 ? left - 1 : nil
      return left <= 1
    }
    if isThere { hasCarrier = true }
  }

  /// Each of the functions' interfaces, by its name.
  public var interfaces: [String: FakeLinks.Settings] {
    follow()
    return state.withLock { state in
      Dictionary(state.interfaces.values.map { ($0.name, $0.settings) }, uniquingKeysWith: { first, _ in first })
    }
  }

  // MARK: rtnetlink

  public func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    request.type == UInt16(RTM_GETLINK) ? links(for: request).map(\.reply) : []
  }

  public func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    let bytes = request.payload.bytes[...]
    let attributes = NetlinkAttributes(bytes.dropFirst(16))
    switch request.type {
    case UInt16(RTM_GETLINK), UInt16(RTM_SETLINK), UInt16(RTM_NEWLINK):
      let index = bytes.integer(at: 4, as: Int32.self) ?? 0
      let name = index == 0 ? attributes.string(Int(IFLA_IFNAME)) : nil
      guard let found = links(for: request).first(where: { name == nil ? $0.index == index : $0.name == name }) else {
        throw NetlinkError(errno: ENODEV, operation: request.operation)
      }
      if request.type == UInt16(RTM_GETLINK) {
        look()
        return [found.reply]
      }
      if attributes[Int(IFLA_VFINFO_LIST)] != nil { return try card.request(request) }
      change(found.index, bytes, attributes)
      return []
    default: return []
    }
  }

  private struct Told {
    var name: String
    var index: Int32
    var reply: NetlinkReply
  }

  private static func index(ofFunction function: UInt32) -> Int32 { 100 + Int32(function) }

  private func links(for request: NetlinkRequest) -> [Told] {
    follow()
    guard kernel.sysfs.exists(Self.address.sysfsPath) else { return [] }
    let mask: UInt32? = NetlinkAttributes(request.payload.bytes.dropFirst(16)).integer(Int(IFLA_EXT_MASK))
    let functions = functions
    return state.withLock { state in
      [physicalLink(state, mask, count: functions.count)]
        + state.interfaces.sorted { $0.key < $1.key }.compactMap { number, interface in
          guard let function = functions.first(where: { $0.index == number }) else { return nil }
          let index = Self.index(ofFunction: number)
          return Told(
            name: interface.name, index: index,
            reply: FakeLinks.link(
              interface.name, index: index, at: function.address, interface.settings, count: nil, functions: { _ in }))
        }
    }
  }

  private func physicalLink(_ state: State, _ mask: UInt32?, count: Int) -> Told {
    var settings = FakeLinks.Settings()
    settings.hasCarrier = state.hasCarrier
    let question = NetlinkRequest(RTM_GETLINK, operation: "list") {
      $0.append(interfaceHeader(card.index))
      if let mask { $0.attribute(Int(IFLA_EXT_MASK), mask) }
    }
    let list = (try? card.request(question).first).flatMap {
      NetlinkAttributes($0.payload.dropFirst(16))[Int(IFLA_VFINFO_LIST)]
    }
    let reply = FakeLinks.link(
      Self.interface, index: card.index, at: Self.address, settings, permanent: Self.permanentAddress,
      count: UInt32(count)
    ) { payload in
      if let list { payload.attribute(Int(IFLA_VFINFO_LIST) | 0x8000, list) }
    }
    return Told(name: Self.interface, index: card.index, reply: reply)
  }

  private func change(_ index: Int32, _ bytes: ArraySlice<UInt8>, _ attributes: NetlinkAttributes) {
    let flags: UInt32 = bytes.integer(at: 8) ?? 0
    let changed: UInt32 = bytes.integer(at: 12) ?? 0
    state.withLock { state in
      guard let number = state.interfaces.keys.first(where: { Self.index(ofFunction: $0) == index }),
        var interface = state.interfaces[number]
      else { return }
      if changed & 1 != 0 { interface.settings.isUp = flags & 1 != 0 }
      if let name = attributes.string(Int(IFLA_IFNAME)) { interface.name = name }
      if let alias = attributes.string(Int(IFLA_IFALIAS)) { interface.settings.alias = alias }
      if let mtu: UInt32 = attributes.integer(Int(IFLA_MTU)) { interface.settings.mtu = mtu }
      state.interfaces[number] = interface
    }
  }

  /// Functions come and go by sysfs, and their interfaces with their driver.
  private func follow() {
    let functions = functions
    card.have(Set(functions.map(\.index)))
    let driven = Set(functions.filter { $0.driver == Self.driver }.map(\.index))
    state.withLock { state in
      state.interfaces = state.interfaces.filter { driven.contains($0.key) }
      for index in driven where state.interfaces[index] == nil {
        var made = Interface(name: "\(Self.interface)v\(index)")
        made.settings.isUp = false
        state.interfaces[index] = made
      }
    }
  }
}
