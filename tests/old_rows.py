"""What the deployment that streamapp replaces wrote."""

from typing import Any

# As its consumers have it (DESIGN §5).
OLD_ROW: dict[str, Any] = {
    "UID": "37217839",
    "USERNAME": "example_name",
    "IMAGE_URL": "https://cdn.example.com/user/profile/7c754bea1aa6672b/5e459c67de6fec5d.png",
    "COUNTRY": "co",
    "EVENT_TIME": "2022-06-10 01:21:01",
    "MESSAGE_RECEIVE_TIME": "2022-06-21 02:18:04.776753+00:00",
    "TOTAL_DURATION": 1.208,
    "MODEL_ATTRIBUTES": {
        "NN_DURATION": 0.053,
        "NN_SAFE_SCORES": "0.9127",
        "NN_UNSAFE_SCORES": "0.0873",
        "NN_TO_BE_MODERATED": False,
        "NN_PREDICTION_SUCCESS": True,
        "NN_STATUS": 0,
        "CLIP_DURATION": 0.048,
        "CLIP_PREDICTION_SUCCESS": True,
        "CLIP_TO_BE_MODERATED": False,
        "CLIP_STATUS": 0,
        "COOP_DURATION": 0.91,
        "COOP_PREDICTION_SUCCESS": True,
        "COOP_STATUS": 0,
        "PREDICTED_TOP3_PRIMARY_CATEGORY": "selfies, life-style, beauty-and-grooming",
        "PREDICTED_TOP3_SECONDARY_CATEGORY": "selfie, fashion, make-up",
        "MFD_DURATION": 0.066,
        "MFD_TO_BE_MODERATED": False,
        "MFD_PREDICTION_SUCCESS": True,
        "MFD_STATUS": 0,
        "USER_ID": "37217839",
    },
    "PREDICTED_PRIMARY_CATEGORY": "selfies, life-style",
    "PREDICTED_SECONDARY_CATEGORY": "selfie, fashion",
    "MODEL_VERSION": "1.0.0",
    "TO_BE_MODERATED": False,
}
