import CLinux
import Glibc
import LinuxDevices
import Synchronization

/// The kernel and a card's driver, as rtnetlink shows them: answers and carries out messages about virtual functions.
public final class FakeCard: NetlinkTransport {
  public struct State: Sendable {
    public var functions: [UInt32: VirtualFunctionSettings]
    /// What the driver answers to an attempt to set something.
    public var refusals: [VirtualFunctionAttribute.Kind: CInt] = [:]
    /// What it takes, and forgets.
    public var ignored: Set<VirtualFunctionAttribute.Kind> = []
    /// What it takes, and never tells again.
    public var untold: Set<VirtualFunctionAttribute.Kind> = []
    public var requests: [NetlinkRequest] = []
    public var isThere = true
  }

  public let index: Int32 = 7
  public let state: Mutex<State>

  public init(count: UInt32) {
    state = Mutex(State(functions: Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, Self.fresh) })))
  }

  private static let fresh = VirtualFunctionSettings {
    $0.macAddress = .zero
    $0.vlan = .off
    $0.minimumTransmitBitsPerSecond = 0
    $0.maximumTransmitBitsPerSecond = 0
    $0.spoofCheck = true
    $0.trust = false
    $0.linkState = .automatic
  }

  /// Functions that go take their settings with them.
  func have(_ functions: Set<UInt32>) {
    state.withLock { state in
      state.functions = state.functions.filter { functions.contains($0.key) }
      for index in functions where state.functions[index] == nil { state.functions[index] = Self.fresh }
    }
  }

  public func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] { try self.request(request) }

  public func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    let result = state.withLock { state -> Result<[NetlinkReply], NetlinkError> in
      state.requests.append(request)
      guard state.isThere else { return .failure(NetlinkError(errno: ENODEV, operation: request.operation)) }
      if request.type == UInt16(RTM_GETLINK) { return .success([message(state, request)]) }
      let code = set(&state, request.payload.bytes[...])
      return code == 0 ? .success([]) : .failure(NetlinkError(errno: code, operation: request.operation))
    }
    return try result.get()
  }

  // MARK: As rtnl_fill_vfinfo of net/core/rtnetlink.c writes

  private func message(_ state: State, _ request: NetlinkRequest) -> NetlinkReply {
    let mask: UInt32? = NetlinkAttributes(request.payload.bytes.dropFirst(16)).integer(Int(IFLA_EXT_MASK))
    var payload = NetlinkPayload()
    payload.append(interfaceHeader(index))
    payload.attribute(Int(IFLA_IFNAME), "card")
    if let mask, mask & UInt32(RTEXT_FILTER_VF) != 0 {
      let withCounters = mask & UInt32(RTEXT_FILTER_SKIP_STATS) == 0
      payload.attribute(Int(IFLA_NUM_VF), UInt32(state.functions.count))
      payload.nested(Int(IFLA_VFINFO_LIST)) { list in
        for (number, settings) in state.functions.sorted(by: { $0.key < $1.key }) {
          list.nested(Int(IFLA_VF_INFO)) { fill(&$0, number, settings, state.untold, withCounters) }
        }
      }
    }
    return NetlinkReply(type: UInt16(RTM_NEWLINK), payload: payload.bytes[...])
  }

  private func fill(
    _ payload: inout NetlinkPayload, _ number: UInt32, _ settings: VirtualFunctionSettings,
    _ untold: Set<VirtualFunctionAttribute.Kind>, _ withCounters: Bool
  ) {
    func flag(_ kind: VirtualFunctionAttribute.Kind, _ isOn: Bool?) -> UInt32 {
      untold.contains(kind) ? .max : isOn.map { $0 ? 1 : 0 } ?? .max
    }
    var tag = (identifier: UInt32(0), priority: UInt32(0), proto: UInt16(0x8100))
    if case .tag(let set)? = settings.vlan {
      tag = (UInt32(set.identifier), UInt32(set.priority), set.tagProtocol.rawValue)
    }
    let address = settings.macAddress ?? .zero
    payload.attribute(Int(IFLA_VF_MAC), words(number) + address.octets + [UInt8](repeating: 0, count: 26))
    payload.attribute(Int(IFLA_VF_BROADCAST), [UInt8](repeating: 255, count: 32))
    payload.attribute(Int(IFLA_VF_VLAN), words(number, tag.identifier, tag.priority))
    let rates = [settings.minimumTransmitBitsPerSecond, settings.maximumTransmitBitsPerSecond]
      .map { UInt32(($0 ?? 0) / 1_000_000) }
    payload.attribute(Int(IFLA_VF_RATE), words(number, rates[0], rates[1]))
    payload.attribute(Int(IFLA_VF_TX_RATE), words(number, rates[1]))
    payload.attribute(Int(IFLA_VF_SPOOFCHK), words(number, flag(.spoofCheck, settings.spoofCheck)))
    payload.attribute(Int(IFLA_VF_LINK_STATE), words(number, settings.linkState?.rawValue ?? 0))
    payload.attribute(Int(IFLA_VF_RSS_QUERY_EN), words(number, flag(.rssQuery, settings.rssQuery)))
    payload.attribute(Int(IFLA_VF_TRUST), words(number, flag(.trust, settings.trust)))
    payload.nested(Int(IFLA_VF_VLAN_LIST)) { list in
      list.attribute(
        Int(IFLA_VF_VLAN_INFO),
        structure: ifla_vf_vlan_info(
          vf: number, vlan: tag.identifier, qos: tag.priority, vlan_proto: tag.proto.bigEndian))
    }
    if withCounters {
      payload.nested(Int(IFLA_VF_STATS)) { counters in
        for type in [IFLA_VF_STATS_RX_PACKETS, IFLA_VF_STATS_TX_PACKETS, IFLA_VF_STATS_RX_DROPPED] {
          counters.attribute(Int(type), UInt64(1000) + UInt64(number))
        }
      }
    }
  }

  private func words(_ values: UInt32...) -> [UInt8] { values.flatMap { withUnsafeBytes(of: $0) { Array($0) } } }

  // MARK: As do_setvfinfo of net/core/rtnetlink.c reads

  private func set(_ state: inout State, _ bytes: ArraySlice<UInt8>) -> CInt {
    guard bytes.integer(at: 4, as: Int32.self) == index,
      let list = NetlinkAttributes(bytes.dropFirst(16))[Int(IFLA_VFINFO_LIST)]
    else { return EINVAL }
    for information in NetlinkAttributes.Sequence(list) {
      for (type, value) in NetlinkAttributes.Sequence(information.value) {
        let code = set(&state, type, value)
        if code != 0 { return code }
      }
    }
    return 0
  }

  private func set(_ state: inout State, _ type: Int, _ value: ArraySlice<UInt8>) -> CInt {
    if type == Int(IFLA_VF_VLAN_LIST) {
      guard let item = NetlinkAttributes.Sequence(value).first(where: { _ in true })?.value, item.count >= 14 else {
        return EINVAL
      }
      return setVLAN(&state, item, UInt16(bigEndian: item.integer(at: 12) ?? 0))
    }
    guard let number: UInt32 = value.integer(at: 0), let word: UInt32 = value.integer(at: 4) else { return EINVAL }
    return switch type {
    case Int(IFLA_VF_MAC):
      store(&state, number, .macAddress, value.count == 36) {
        $0.macAddress = MACAddress(octets: value.dropFirst(4).prefix(6))
      }
    case Int(IFLA_VF_VLAN): setVLAN(&state, value, 0x8100)
    case Int(IFLA_VF_RATE):
      store(&state, number, .rate, value.count == 12) {
        $0.minimumTransmitBitsPerSecond = UInt64(word) * 1_000_000
        $0.maximumTransmitBitsPerSecond = UInt64(value.integer(at: 8, as: UInt32.self) ?? 0) * 1_000_000
      }
    case Int(IFLA_VF_SPOOFCHK): store(&state, number, .spoofCheck) { $0.spoofCheck = word != 0 }
    case Int(IFLA_VF_TRUST): store(&state, number, .trust) { $0.trust = word != 0 }
    case Int(IFLA_VF_RSS_QUERY_EN): store(&state, number, .rssQuery) { $0.rssQuery = word != 0 }
    case Int(IFLA_VF_LINK_STATE): store(&state, number, .linkState) { $0.linkState = LinkStatePolicy(rawValue: word) }
    default: EINVAL
    }
  }

  private func setVLAN(_ state: inout State, _ value: ArraySlice<UInt8>, _ proto: UInt16) -> CInt {
    guard let number: UInt32 = value.integer(at: 0), let identifier: UInt32 = value.integer(at: 4),
      let priority: UInt32 = value.integer(at: 8), let proto = VLANTag.TagProtocol(rawValue: proto)
    else { return EPROTONOSUPPORT }
    let tag = VLANTag(identifier: UInt16(identifier), priority: UInt8(priority), tagProtocol: proto)
    return store(&state, number, .vlan) { $0.vlan = tag.map { .tag($0) } ?? .off }
  }

  private func store(
    _ state: inout State, _ number: UInt32, _ kind: VirtualFunctionAttribute.Kind, _ isValid: Bool = true,
    _ body: (inout VirtualFunctionSettings) -> Void
  ) -> CInt {
    if let refusal = state.refusals[kind] { return refusal }
    guard isValid, var settings = state.functions[number] else { return EINVAL }
    if !state.ignored.contains(kind) { body(&settings) }
    state.functions[number] = settings
    return 0
  }
}
