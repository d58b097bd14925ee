"""The pictures of a short authentication string (spec: SAS method emoji)."""

from typing import Final

_TABLE = (
    "🐶 Dog, 🐱 Cat, 🦁 Lion, 🐎 Horse, 🦄 Unicorn, 🐷 Pig, 🐘 Elephant, 🐰 Rabbit,"
    " 🐼 Panda, 🐓 Rooster, 🐧 Penguin, 🐢 Turtle, 🐟 Fish, 🐙 Octopus, 🦋 Butterfly,"
    " 🌷 Flower, 🌳 Tree, 🌵 Cactus, 🍄 Mushroom, 🌏 Globe, 🌙 Moon, ☁️ Cloud, 🔥 Fire,"
    " 🍌 Banana, 🍎 Apple, 🍓 Strawberry, 🌽 Corn, 🍕 Pizza, 🎂 Cake, ❤️ Heart,"
    " 😀 Smiley, 🤖 Robot, 🎩 Hat, 👓 Glasses, 🔧 Spanner, 🎅 Santa, 👍 Thumbs Up,"
    " ☂️ Umbrella, ⌛ Hourglass, ⏰ Clock, 🎁 Gift, 💡 Light Bulb, 📕 Book, ✏️ Pencil,"
    " 📎 Paperclip, ✂️ Scissors, 🔒 Lock, 🔑 Key, 🔨 Hammer, ☎️ Telephone, 🏁 Flag,"
    " 🚂 Train, 🚲 Bicycle, ✈️ Aeroplane, 🚀 Rocket, 🏆 Trophy, ⚽ Ball, 🎸 Guitar,"
    " 🎺 Trumpet, 🔔 Bell, ⚓ Anchor, 🎧 Headphones, 📁 Folder, 📌 Pin"
)

EMOJI: Final = tuple(
    (one.split(" ", 1)[0], one.split(" ", 1)[1]) for one in _TABLE.split(", ")
)
"""Each with its name, by number."""
