"""An MCP server with one tool, to try --mcp with: it makes up the weather."""

from mcp.server import MCPServer

server = MCPServer("weather")
SKIES = ("sunny", "cloudy", "rainy", "snowy")


@server.tool()
def get_weather(city: str) -> dict[str, int | str]:
    """Get the weather in a city."""
    return {"temperature": len(city) * 3, "weather": SKIES[len(city) % 4]}


server.run()
