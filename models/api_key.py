"""Users' API keys of the exchange."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedUpdated, IntPK
from models.checks import not_empty

if TYPE_CHECKING:
    from models.user import User


class ApiKey(CreatedUpdated, Base):
    """A Binance API key of a user, encrypted by the application.

    Deleted with its owner. A user may have any number of keys.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        not_empty("encrypted_api_key"),
        not_empty("encrypted_secret_key"),
        {"comment": "Binance API keys, encrypted by the application. Deleted with their owner."},
    )
    __repr_columns__ = ("id", "user_id", "is_valid")

    id: Mapped[IntPK]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    encrypted_api_key: Mapped[str] = mapped_column(
        Text, comment="Ciphertext of the API key, as text. An encrypted RSA key is kilobytes."
    )
    encrypted_secret_key: Mapped[str] = mapped_column(
        Text, comment="Ciphertext of the secret key, as text."
    )
    label: Mapped[str | None] = mapped_column(
        String(100), comment="The owner's name for the key, such as My Main Binance Account."
    )
    is_valid: Mapped[bool] = mapped_column(
        default=False,
        server_default=false(),
        comment="Whether Binance accepted the key when it was last tried.",
    )

    owner: Mapped["User"] = relationship(back_populates="api_keys", lazy="raise_on_sql")
